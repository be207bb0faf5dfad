//! Modules: PTX text in, programs out, with an error log like that of a driver's compiler.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError};

use super::abi::{HostSource, JitOptions, OptionNames, OptionValues, Out, Text};
use super::answer;
use super::code::{self, Code};
use super::state::{Context, Function, Handle, Module, driver};
use crate::faults::Call;
use crate::program::target::{self, Mismatch};
use crate::program::{self, Program};
use crate::ptx::tree::{StateSpace, Variable};
use crate::ptx::{PtxError, parser};

pub(crate) extern "C" fn cuModuleLoadData(module: Out<Handle>, image: HostSource) -> Code {
    answer(|| load(&module, &image, &JitOptions { error_log: None }))
}

pub(crate) extern "C" fn cuModuleLoadDataEx(
    module: Out<Handle>,
    image: HostSource,
    count: u32,
    names: OptionNames,
    values: OptionValues,
) -> Code {
    answer(|| load(&module, &image, &JitOptions::read(count, &names, &values)?))
}

pub(crate) extern "C" fn cuModuleLoad(module: Out<Handle>, path: Text) -> Code {
    answer(|| {
        let text = std::fs::read_to_string(path.read()?).map_err(|_| code::FILE_NOT_FOUND)?;
        load_text(&module, text, &JitOptions { error_log: None })
    })
}

fn load(module: &Out<Handle>, image: &HostSource, options: &JitOptions) -> Result<(), Code> {
    driver().current()?.alive()?;
    if image.is_binary() {
        return Err(code::NO_BINARY_FOR_GPU);
    }
    load_text(module, image.text().map_err(|_| code::INVALID_IMAGE)?, options)
}

fn load_text(module: &Out<Handle>, text: String, options: &JitOptions) -> Result<(), Code> {
    let context = driver().current()?;
    let log = |message: &str| {
        if let Some((log, space)) = &options.error_log {
            let _ = log.write(message, *space);
        }
    };
    context.enter(Call::LoadModule).inspect_err(|&code| {
        if code == code::INVALID_PTX {
            log("line 1: an injected fault rejects this module");
        }
    })?;
    let built = build(&context, text).map_err(|(code, error)| {
        log(&error.to_string());
        context.device.report(error);
        code
    })?;
    let handle = driver().new_handle();
    module.write(handle)?;
    driver().modules.insert(handle, built);
    Ok(())
}

fn build(context: &Context, text: String) -> Result<Module, (Code, PtxError)> {
    let source: Arc<str> = text.into();
    let invalid = |error| (code::INVALID_PTX, error);
    let tree = parser::parse(&source).map_err(invalid)?;
    let target =
        target::of(&tree, context.device.spec.compute_capability).map_err(|mismatch| match mismatch {
            Mismatch::Version(error) => (code::UNSUPPORTED_PTX_VERSION, error),
            Mismatch::Target(error) => (code::NO_BINARY_FOR_GPU, error),
        })?;
    let mut globals = HashMap::new();
    let in_device = |variable: &&Variable| matches!(variable.space, StateSpace::Global | StateSpace::Const);
    for variable in tree.variables.iter().filter(in_device) {
        let Some(bytes) = variable.bytes else {
            release(context, &globals);
            let message = format!("variable `{}` is declared but not defined", variable.name);
            return Err(invalid(PtxError::new(variable.line, message)));
        };
        if variable.init.len() as u64 > bytes {
            release(context, &globals);
            let message = format!("variable `{}` has more values than it holds", variable.name);
            return Err(invalid(PtxError::new(variable.line, message)));
        }
        let constant = variable.space == StateSpace::Const;
        let placed =
            (bytes <= context.device.spec.memory).then(|| context.memory.allocate(bytes, constant)).flatten();
        match placed {
            Some(allocation) => globals.insert(variable.name, (allocation, bytes)),
            None => {
                release(context, &globals);
                let message = format!("variable `{}` of {bytes} bytes does not fit", variable.name);
                return Err((code::OUT_OF_MEMORY, PtxError::new(variable.line, message)));
            }
        };
    }
    let addresses = globals.iter().map(|(&name, (allocation, _))| (name, allocation.base)).collect();
    let programs = fill(&tree.variables, &globals, &addresses).and_then(|()| {
        let shared: Vec<&Variable> =
            tree.variables.iter().filter(|variable| variable.space == StateSpace::Shared).collect();
        tree.entries
            .iter()
            .map(|entry| {
                let program = program::decode(&source, entry, target, &addresses, &shared)?;
                Ok((entry.name.to_owned(), Arc::new(program)))
            })
            .collect::<Result<HashMap<String, Arc<Program>>, PtxError>>()
    });
    let programs = programs.map_err(|error| {
        release(context, &globals);
        invalid(error)
    })?;
    Ok(Module {
        context: context.handle,
        programs,
        globals: globals
            .iter()
            .map(|(&name, (allocation, bytes))| (name.to_owned(), (allocation.base, *bytes)))
            .collect(),
        functions: Mutex::default(),
        target: (target.sm, target.version.0 * 10 + target.version.1),
    })
}

type Placed<'a> = HashMap<&'a str, (Arc<crate::memory::global::Allocation>, u64)>;

fn release(context: &Context, globals: &Placed) {
    for (allocation, _) in globals.values() {
        context.memory.free(allocation.base);
    }
}

/// Writes the initial values, zero where none is given, and the addresses among them.
fn fill(variables: &[Variable], globals: &Placed, addresses: &HashMap<&str, u64>) -> Result<(), PtxError> {
    for variable in variables {
        let Some((allocation, bytes)) = globals.get(variable.name) else { continue };
        let mut init = variable.init.clone();
        init.resize(*bytes as usize, 0);
        for &(offset, name, displacement) in &variable.relocations {
            let Some(address) = addresses.get(name) else {
                return Err(PtxError::new(variable.line, format!("there is no variable `{name}`")));
            };
            init[offset..offset + 8].copy_from_slice(&address.wrapping_add(displacement).to_le_bytes());
        }
        allocation.write_bytes(0, &init);
    }
    Ok(())
}

pub(crate) extern "C" fn cuModuleUnload(module: Handle) -> Code {
    answer(|| {
        let context = driver().current()?;
        let module = driver().modules.remove(module)?;
        for handle in module.functions.lock().unwrap_or_else(PoisonError::into_inner).values() {
            // It was in the table for as long as the module was.
            let _ = driver().functions.remove(*handle);
        }
        if let Ok(owner) = driver().contexts.get(module.context) {
            for (address, _) in module.globals.values() {
                owner.memory.free(*address);
            }
        }
        context.alive()
    })
}

pub(crate) extern "C" fn cuModuleGetFunction(function: Out<Handle>, module: Handle, name: Text) -> Code {
    answer(|| {
        let context = driver().current()?;
        context.enter(Call::GetFunction)?;
        let found = driver().modules.get(module)?;
        let name = name.read()?;
        let program = found.programs.get(&name).ok_or(code::NOT_FOUND)?;
        let mut known = found.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = *known.entry(name).or_insert_with(|| {
            let handle = driver().new_handle();
            let (sm, version) = found.target;
            driver().functions.insert(
                handle,
                Function {
                    module,
                    context: found.context,
                    program: Arc::clone(program),
                    max_dynamic_shared: AtomicU32::new(
                        context.device.spec.shared_per_block.saturating_sub(program.static_shared),
                    ),
                    carveout: AtomicI32::new(-1),
                    versions: (version as i32, sm as i32),
                },
            );
            handle
        });
        function.write(handle)
    })
}

pub(crate) extern "C" fn cuModuleGetGlobal_v2(
    address: Out<u64>,
    bytes: Out<usize>,
    module: Handle,
    name: Text,
) -> Code {
    answer(|| {
        driver().current()?.alive()?;
        let module = driver().modules.get(module)?;
        let &(found, size) = module.globals.get(&name.read()?).ok_or(code::NOT_FOUND)?;
        address.write_if_wanted(found);
        bytes.write_if_wanted(size as usize);
        Ok(())
    })
}
