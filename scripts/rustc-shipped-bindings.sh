#!/bin/sh
# A wrapper of rustc for check-versions.sh: has pgrx-pg-sys, and no other crate, use the bindings that it ships.
rustc=$1
shift
case " $* " in
*" --crate-name pgrx_pg_sys "*) exec "$rustc" --cfg docsrs "$@" ;;
*) exec "$rustc" "$@" ;;
esac
