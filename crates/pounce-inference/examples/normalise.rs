//! What the service makes of texts before it splits them: JSON strings in, one a line, and for each
//! a line with what every scheme makes of it, in the order of the arguments.
//!
//! `make fuzz-normalisation` holds this to the Python that prepares texts for training.

use std::io::{BufRead, BufWriter, Write};

use pounce_inference::normalise::Normalisation;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let named = |name: String| Normalisation::parse(&name).ok_or(format!("no scheme is `{name}`"));
    let schemes: Vec<Normalisation> =
        std::env::args().skip(1).map(named).collect::<Result<_, _>>()?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        let made: Vec<_> = schemes.iter().map(|scheme| scheme.apply(&text)).collect();
        serde_json::to_writer(&mut out, &made)?;
        writeln!(out)?;
    }
    Ok(out.flush()?)
}
