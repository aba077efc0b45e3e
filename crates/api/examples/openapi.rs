//! Prints the API document, for `docs/reference/openapi.json`.

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &lazaret_api::document())?;
    std::io::Write::write_all(&mut out, b"\n")
}
