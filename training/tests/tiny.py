"""A tiny world for the pipeline's tests: data files of made-up posts, a small random encoder."""

import json
import random
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification

import data
import posts
from models import Network
from scores import Scores

torch.set_num_threads(1)  # threads of tests that wait for each other cost more than they give

WORDS = {
    "negative": "late broken lost rude cold wrong slow missing".split(),
    "neutral": "opens moves parcel street monday blue train form".split(),
    "positive": "thanks great lovely quick kind happy best enjoyed".split(),
}


def write_data(folder: Path, rows: int = 240) -> None:
    """Writes a file a source: posts whose label follows from their last words."""
    rng = random.Random(5)
    for source in data.SOURCES:
        lines = []
        for number in range(rows):
            label = rng.choice(data.LABELS)
            filler = [rng.choice(WORDS["neutral"]) for _ in range(rng.randrange(1, 6))]
            words = rng.sample(WORDS[label], 3)
            text = " ".join([*filler, *words, f"n{number}{source.name[:3]}"])
            named = {
                "three": label,
                "care": "complaint" if label == "negative" else "other",
                "emotions": {"negative": "anger", "neutral": "neutral", "positive": "joy"}[label],
            }
            kind = {id(data.CARE): "care", id(data.EMOTIONS): "emotions"}.get(
                id(source.labels), "three"
            )
            record = {"text": f"@user {text}"} | ({"label": named[kind]} if source.labels else {})
            if source.name == data.HANDMADE:
                kind = "plain_narrative" if label == "neutral" else "pair_ok"
                record |= {"kind": kind, "complaint": label == "negative"}
            lines.append(json.dumps(record))
        (folder / f"{source.name}.jsonl").write_text("\n".join(lines) + "\n")


def network(layers: int = 3, seed: int = 1, outputs: int = 4) -> Network:
    """A BERT of width 32 on a vocabulary of letters and the tiny world's words."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789@?!.,'"
    words = {w for group in WORDS.values() for w in group} | {"user", "http"}
    own = {
        word.strip(".,!?")
        for part in ("train", "validation")
        for p in posts.posts(part)
        for word in p.text.lower().split()
    }
    entries = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{c}" for c in letters)]
    vocab = {
        token: index for index, token in enumerate(dict.fromkeys([*entries, *sorted(words | own)]))
    }
    tokeniser = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokeniser.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokeniser.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokeniser.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocab), hidden_size=32, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=128, num_labels=outputs, pad_token_id=0,
    )  # fmt: skip
    return Network(
        BertForSequenceClassification._from_config(config, attn_implementation="eager"), tokeniser
    )


def scored(rows: list[data.Row]) -> Scores:
    """What a teacher would say of the tiny world's posts: their words tell."""
    scores = Scores()
    for row in rows:
        said = [any(word in row.text.split() for word in WORDS[label]) for label in data.LABELS]
        label = max((1, *(i for i in (0, 2) if said[i]))) if not said[0] else 0
        sentiment = np.full(3, 0.05) + 0.85 * np.eye(3)[label]
        scores.add([row.text], np.append(sentiment, 0.9 if label == 0 else 0.1)[None])
    return scores
