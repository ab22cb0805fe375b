//! The program: [`xtask::main`], and nothing else.

fn main() -> std::process::ExitCode {
    xtask::main()
}
