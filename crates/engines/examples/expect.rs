//! Writes the expected files of the tests anew: what every recorded transcript means and what every plan holds. Read the
//! difference before it is kept.

#[path = "../tests/it/render.rs"]
mod render;

fn main() -> std::io::Result<()> {
    for (engine, file) in render::recorded() {
        let bytes = std::fs::read(&file)?;
        let text = render::transcript(&engine, &bytes, render::exit_of(&file), bytes.len().max(1));
        std::fs::write(file.with_extension("expect"), text)?;
    }
    let plans = render::tests_dir().join("plans");
    std::fs::create_dir_all(&plans)?;
    for engine in lazaret_engines::ALL {
        std::fs::write(plans.join(format!("{}.expect", engine.name())), render::plans(*engine))?;
    }
    Ok(())
}
