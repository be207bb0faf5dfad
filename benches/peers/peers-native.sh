#!/bin/sh
# Peers are compiled for the very CPU at hand. warpdot is compiled as it is shipped: it looks at run time.
[ -z "$CARGO_PRIMARY_PACKAGE" ] || exec "$@"
case " $* " in
    *" --crate-name warpdot"* | *" --print"* | *" -vV"*) exec "$@" ;;
    *) exec "$@" -C target-cpu=native ;;
esac
