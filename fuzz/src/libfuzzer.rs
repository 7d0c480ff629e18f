//! Hands a property to libFuzzer. Its callback is a plain C function, so the property of the one
//! target that this process runs stands beside it. A crash is what libFuzzer waits for: it writes
//! the input down first.

#![allow(unsafe_code, reason = "libFuzzer is C++ and calls back")]

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int};

// Linked for the C++ that it brings along.
use libfuzzer_sys as _;

type Property = dyn Fn(&[u8]);

/// The arguments of libFuzzer, one a line. Without the variable a target runs as in `cargo test`.
const ARGUMENTS: &str = "POSTERN_FUZZ_ARGUMENTS";

thread_local! {
    /// libFuzzer calls back on the thread that started it.
    static PROPERTY: Cell<Option<&'static Property>> = const { Cell::new(None) };
}

unsafe extern "C" {
    fn LLVMFuzzerRunDriver(
        argc: *mut c_int,
        argv: *mut *mut *mut c_char,
        callback: extern "C" fn(*const u8, usize) -> c_int,
    ) -> c_int;
}

extern "C" fn one_input(data: *const u8, size: usize) -> c_int {
    let input = match size {
        0 => &[],
        // SAFETY: libFuzzer gives a buffer of this size that lives until we return.
        _ => unsafe { std::slice::from_raw_parts(data, size) },
    };
    if let Some(property) = PROPERTY.get() {
        property(input);
    }
    0
}

/// libfuzzer-sys wants a target of this name; ours are many, and are called as above.
#[unsafe(no_mangle)]
extern "Rust" fn rust_fuzzer_test_input(_: &[u8]) -> i32 {
    0
}

pub(crate) fn arguments() -> Option<Vec<CString>> {
    let lines = std::env::var(ARGUMENTS).ok()?;
    let name = CString::from(c"target");
    let arguments = lines.lines().filter_map(|line| CString::new(line).ok());
    Some(std::iter::once(name).chain(arguments).collect())
}

/// Runs until libFuzzer has had enough, which ends the process.
pub(crate) fn run(arguments: Vec<CString>, property: Box<Property>) -> ! {
    PROPERTY.set(Some(Box::leak(property)));
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        told(panic);
        // libFuzzer takes this for a crash and writes the input to a file.
        std::process::abort();
    }));
    let count = arguments.len();
    let pointers = arguments.into_iter().map(CString::into_raw);
    let pointers: Vec<*mut c_char> = pointers.chain([std::ptr::null_mut()]).collect();
    let (mut argc, mut argv) = (c_int::try_from(count).unwrap_or(0), pointers.leak().as_mut_ptr());
    // SAFETY: `argc` strings that end in NUL and are never freed, and a null pointer behind them.
    let code = unsafe { LLVMFuzzerRunDriver(&raw mut argc, &raw mut argv, one_input) };
    std::process::exit(code)
}
