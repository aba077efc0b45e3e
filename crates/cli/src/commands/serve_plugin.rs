//! `lazaret serve-plugin`, run inside a plugin's sandbox: a plugin that ships, on standard input and output.

use crate::env::Env;
use crate::exit::Done;

pub(crate) fn run(name: &str) -> Done {
    let status = plugins::serve(name, &Env::named);
    Ok(u8::try_from(status).unwrap_or(1))
}
