"""Fetches the public data by its sources, into the files that `data.py` reads.

`python fetch.py --to DIR` downloads what its owners serve openly (TweetEval, complaints,
GoEmotions, SST-2). Three CrowdFlower sets and Customer Support on Twitter need an account: put the
files named in `BY_HAND` into `DIR/raw` and run it again. The care sets of airlines and telecoms
have no address that we know; `make.py` names every file that is missing and does without it.
"""

import argparse
import csv
import io
import json
import re
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from normalise import normalise

TWEETEVAL = "https://raw.githubusercontent.com/cardiffnlp/tweeteval/main/datasets/sentiment"
GOEMOTIONS = (
    "https://raw.githubusercontent.com/google-research/google-research/master/goemotions/data"
)
COMPLAINTS = "https://raw.githubusercontent.com/danielpreotiuc/complaints-social-media/master"
SST2 = "https://dl.fbaipublicfiles.com/glue/data/SST-2.zip"
BY_HAND = {
    "judge-1377884607_tweet_product_company.csv": "https://data.world/crowdflower/brands-and-product-emotions",
    "Apple-Twitter-Sentiment-DFE.csv": "https://data.world/crowdflower/apple-twitter-sentiment",
    "Twitter-sentiment-self-drive-DFE.csv": "https://data.world/crowdflower/sentiment-self-driving-cars",
    "twcs.csv": "https://www.kaggle.com/datasets/thoughtvector/customer-support-on-twitter",
}
THREE = ["negative", "neutral", "positive"]
BYTES_MAX = 1 << 30

Record = dict[str, str]


def tweeteval(text: str, labels: str) -> Iterator[Record]:
    """TweetEval: one tweet a line, and its class 0 to 2 a line."""
    for tweet, label in zip(text.splitlines(), labels.split(), strict=True):
        yield {"text": tweet, "label": THREE[int(label)]}


def complaints(text: str) -> Iterator[Record]:
    """Preotiuc-Pietro et al.: id, tweet, 1 for a complaint, domain; without a header."""
    for _, tweet, label, domain in csv.reader(io.StringIO(text)):
        yield {"text": tweet, "label": "complaint" if label == "1" else "other", "domain": domain}


def goemotions(text: str, names: str) -> Iterator[Record]:
    """GoEmotions: comment, comma-separated indices of emotions, id; tab-separated."""
    emotions = names.split()
    for line in text.splitlines():
        comment, indices, _ = line.split("\t")
        yield {"text": comment, "label": ",".join(emotions[int(i)] for i in indices.split(","))}


def sst2(text: str) -> Iterator[Record]:
    """GLUE's SST-2: a header, then phrase and class 0 or 1, tab-separated."""
    for line in text.splitlines()[1:]:
        phrase, label = line.rsplit("\t", 1)
        yield {"text": phrase.strip(), "label": "positive" if label == "1" else "negative"}


def brands(text: str) -> Iterator[Record]:
    """CrowdFlower 2013: the emotion towards a brand; rows that nobody could tell are left out."""
    classes = {"Negative": "negative", "Positive": "positive", "No emotion": "neutral"}
    for row in csv.DictReader(io.StringIO(text)):
        emotion = row["is_there_an_emotion_directed_at_a_brand_or_product"]
        label = next((c for start, c in classes.items() if emotion.startswith(start)), None)
        if label and row["tweet_text"]:
            yield {"text": row["tweet_text"], "label": label}


def scale(text: str) -> Iterator[Record]:
    """CrowdFlower 2014 and 2015: sentiment 1 to 5; "not_relevant" is left out."""
    for row in csv.DictReader(io.StringIO(text)):
        if row["sentiment"] in "12345":
            label = THREE[(int(row["sentiment"]) > 2) + (int(row["sentiment"]) > 3)]
            yield {"text": row["text"], "label": label}


def inbound(text: str, account: str = "SpotifyCares") -> Iterator[Record]:
    """Customer Support on Twitter: customers' tweets that name `account`."""
    for row in csv.DictReader(io.StringIO(text)):
        if row["inbound"] == "True" and re.search(rf"@{account}\b", row["text"], re.IGNORECASE):
            yield {"text": row["text"], "time": row["created_at"]}


def main() -> None:
    """Fetches and writes every set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, required=True)
    folder = parser.parse_args().to
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    for split in ("train", "val"):
        parts = [_get(f"{TWEETEVAL}/{split}_{part}.txt").decode() for part in ("text", "labels")]
        _write(folder / f"semeval_{split}.jsonl", tweeteval(*parts))
    _write(
        folder / "complaints.jsonl", complaints(_get(f"{COMPLAINTS}/complaints-data.csv").decode())
    )
    emotions = _get(f"{GOEMOTIONS}/emotions.txt").decode()
    _write(
        folder / "goemotions_train.jsonl",
        goemotions(_get(f"{GOEMOTIONS}/train.tsv").decode(), emotions),
    )
    with zipfile.ZipFile(io.BytesIO(_get(SST2))) as archive:
        _write(folder / "sst2_train.jsonl", sst2(archive.read("SST-2/train.tsv").decode()))
    hand: list[tuple[str, str, Callable]] = [
        ("judge-1377884607_tweet_product_company.csv", "brands_sxsw", brands),
        ("Apple-Twitter-Sentiment-DFE.csv", "apple", scale),
        ("Twitter-sentiment-self-drive-DFE.csv", "selfdriving", scale),
        ("twcs.csv", "stream_spotify", inbound),
    ]
    for file, name, parse in hand:
        raw = folder / "raw" / file
        if raw.exists():
            _write(folder / f"{name}.jsonl", parse(raw.read_bytes().decode("utf-8", "replace")))
        else:
            print(f"{name}: put {file} of {BY_HAND[file]} into {folder / 'raw'} and run this again")


def _get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=120) as answer:
        return answer.read(BYTES_MAX)


def _write(file: Path, records: Iterator[Record]) -> None:
    lines = [json.dumps({**r, "text": normalise(r["text"])}, ensure_ascii=False) for r in records]
    file.write_text("\n".join(dict.fromkeys(lines)) + "\n", encoding="utf-8")
    print(f"{file.name}: {len(lines)} rows")


if __name__ == "__main__":
    main()
