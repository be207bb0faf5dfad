//! A compiled module taken apart, so that each kernel can be a module.

/// The parts of a module behind its header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    /// Tables and shared memory, a declaration a line.
    pub(crate) declarations: Vec<&'a str>,
    /// The kernels, in order: name and text.
    pub(crate) kernels: Vec<(&'a str, &'a str)>,
}

const ENTRY: &str = ".visible .entry ";
const END: &str = "\n}\n";

/// Takes a module apart, or says what in it is neither a declaration nor a kernel.
pub(crate) fn split(ptx: &str) -> Result<Parts<'_>, String> {
    let mut parts = Parts { declarations: Vec::new(), kernels: Vec::new() };
    let mut rest = ptx;
    while !rest.is_empty() {
        if rest.starts_with(ENTRY) {
            let length = rest.find(END).map(|end| end + END.len()).ok_or("a kernel does not end")?;
            let (kernel, after) = rest.split_at(length);
            let name = kernel[ENTRY.len()..].split('(').next().unwrap_or_default();
            parts.kernels.push((name, kernel));
            rest = after;
            continue;
        }
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let code = line.split("//").next().unwrap_or_default().trim();
        if code.ends_with(';')
            && [".global ", ".const ", ".extern "].iter().any(|start| code.starts_with(start))
        {
            parts.declarations.push(code);
        } else if !(code.is_empty() || is_header(code)) {
            return Err(format!("a line that is neither a declaration nor a kernel: {code}"));
        }
        rest = after;
    }
    Ok(parts)
}

fn is_header(code: &str) -> bool {
    [".version ", ".target ", ".address_size "].iter().any(|start| code.starts_with(start))
}
