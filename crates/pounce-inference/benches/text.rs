//! What the work on a text costs: normalise, detect its language, split it into tokens. The
//! texts are the usual ones and the worst that are known.

use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pounce_inference::language::KnownLanguages;
use pounce_inference::normalise::Normalisation;
use pounce_inference::tokens::TextTokenizer;

fn texts() -> Vec<(&'static str, String)> {
    let post = "@acme my router is down again, been on hold for 47 minutes and nobody answers";
    let worst = |unit: &str, bytes: usize| unit.repeat(bytes / unit.len());
    let long_words = format!("{} ", "qz".repeat(49));
    vec![
        ("a post", post.to_owned()),
        ("a post with emoji", format!("{post} \u{1f621}\u{1f44e} it’s a joke…")),
        ("512 bytes of long words", worst(&long_words, 512)),
        ("512 bytes of U+FDFA", worst("\u{fdfa}", 512)),
        ("512 bytes of Greek", worst("δεν ανοίγει ", 512)),
        ("8 KiB of posts", worst(&format!("{post} "), 8192)),
        ("8 KiB of long words", worst(&long_words, 8192)),
        ("8 KiB of U+FDFA", worst("\u{fdfa}", 8192)),
        ("8 KiB of added tokens", worst("[MASK]qz", 8192)),
        ("8 KiB of combining marks", worst("e\u{301}\u{302}\u{323}", 8192)),
    ]
}

fn text_work(c: &mut Criterion) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../model/tokenizer.json");
    let tokenizer = TextTokenizer::load(&file, 512).expect("the default model's tokenizer");
    let known = KnownLanguages::new(&["en".to_owned()]);
    for (name, text) in texts() {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(text.len() as u64));
        let normalised = Normalisation::SocialV1.apply(&text).into_owned();
        let mut bench = |stage: &str, work: &mut dyn FnMut()| {
            group.bench_function(BenchmarkId::from_parameter(stage), |b| b.iter(&mut *work));
        };
        bench("normalise", &mut || {
            black_box(Normalisation::SocialV1.apply(black_box(&text)));
        });
        bench("language", &mut || {
            black_box(known.is_foreign(black_box(&normalised), None));
        });
        bench("tokens", &mut || {
            black_box(tokenizer.encode(black_box(&normalised)).expect("it splits"));
        });
        group.finish();
    }
}

criterion_group!(benches, text_work);
criterion_main!(benches);
