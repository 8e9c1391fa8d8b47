"""The default model in other people's engines, beside `pounce bench`: the same network, posts and
cores, each engine at the batch size and precision that suit it best.

All get their posts split into tokens in advance, in batches of like length, as `pounce bench` gives
them to its engines. Only the engines' speed is compared; what a service adds is not.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nncf
import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

from export import Classifier, to_onnx
from labels import Labels
from normalise import SCHEMES
from scoring import padded

BATCHES = (1, 8, 32, 128)
SINGLES = 300
CALIBRATION_POSTS = 300

Logits = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class Measured:
    """Posts a second at the best batch size, seconds of one post alone, the class of each post."""

    rate: float
    batch: int
    single: float
    classes: np.ndarray


class Bench:
    """Times anything that gives logits of ids and mask on the same posts."""

    def __init__(self, folder: Path, texts: list[str]):
        config = json.loads((folder / "config.json").read_text())
        said = config["pounce"]
        tokeniser = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokeniser.enable_truncation(said["tokens_max"])
        normalise = SCHEMES[said.get("normalisation", "none")]
        names = [config["id2label"][str(i)] for i in range(len(config["id2label"]))]
        self.outputs = Labels(names, said.get("label_weights"), said.get("answers"))
        self.rows = [e.ids for e in tokeniser.encode_batch([normalise(text) for text in texts])]
        self.order = sorted(range(len(self.rows)), key=lambda row: len(self.rows[row]))

    def tokens(self) -> float:
        """Tokens of a post on average."""
        return statistics.mean(map(len, self.rows))

    def batches(self, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Ids and mask of all posts, short ones first."""
        starts = range(0, len(self.order), size)
        return [padded([self.rows[i] for i in self.order[s : s + size]]) for s in starts]

    def measure(self, logits: Logits, rounds: int) -> Measured:
        found = {}
        for size in BATCHES:
            batches = self.batches(size)
            seconds = []
            # One round to get warm: shapes are compiled, buffers grow.
            for number in range(rounds + 1):
                started = time.perf_counter()
                out = [logits(*batch) for batch in batches]
                if number:
                    seconds.append(time.perf_counter() - started)
            found[size] = (statistics.median(seconds), out)
        size = min(found, key=lambda size: found[size][0])
        seconds, out = found[size]
        classes = np.empty(len(self.rows), dtype=int)
        classes[self.order] = self.outputs.chosen(self.outputs.probabilities(np.concatenate(out)))
        alone = []
        for row in self.rows[:SINGLES]:
            batch = padded([row])
            started = time.perf_counter()
            logits(*batch)
            alone.append(time.perf_counter() - started)
        return Measured(len(self.rows) / seconds, size, statistics.median(alone), classes)


def with_torch(folder: Path, dtype: torch.dtype) -> Logits:
    model = BertForSequenceClassification.from_pretrained(folder, dtype=dtype).eval()
    network = Classifier(model)

    def logits(ids, mask):
        with torch.inference_mode():
            return network(torch.from_numpy(ids), torch.from_numpy(mask)).float().numpy()

    return logits


def with_onnxruntime(path: Path, cores: int) -> Logits:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = cores, 1
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    return lambda ids, mask: session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


def with_openvino(model: openvino.Model, precision: str, cores: int) -> Logits:
    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": cores,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(model, "CPU", hints).create_infer_request()
    return lambda ids, mask: request.infer({"input_ids": ids, "attention_mask": mask})["logits"]


def calibrated(path: Path, bench: Bench) -> openvino.Model:
    """`path` with weights and activations in 8 bits, as NNCF does it for transformers."""
    batches = bench.batches(1)
    some = batches[:: max(1, len(batches) // CALIBRATION_POSTS)]
    names = ("input_ids", "attention_mask")
    posts = nncf.Dataset(some, lambda batch: dict(zip(names, batch)))
    return nncf.quantize(
        openvino.Core().read_model(path),
        posts,
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(some),
    )


@contextmanager
def served(pounce: Path, folder: Path):
    """The address of a server of the same model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        addr = f"127.0.0.1:{free.getsockname()[1]}"
    flags = ["--grpc-addr", addr, "--http-addr", "127.0.0.1:0", "--model", str(folder)]
    server = subprocess.Popen([pounce, "serve", *flags], stderr=subprocess.DEVNULL)
    try:
        yield f"http://{addr}"
    finally:
        server.terminate()
        server.wait()


def ours(pounce: Path, folder: Path, posts: Path, count: int, cores: int, names: list[str]):
    """`pounce bench` on the same posts, and the classes that `pounce score` gives them."""
    workers = ["--workers", str(cores), "--model", str(folder)]
    command = [pounce, "bench", "--streams", "0", "--engines", "bert", "--posts", str(count)]
    runs = [
        subprocess.run(
            [*command, "--file", posts, *workers], check=True, capture_output=True, text=True
        ).stdout
        for _ in range(3)
    ]
    rows = [re.search(r"\| bert \| (\d+) \| ([\d.]+) ms", run).groups() for run in runs]
    rate, single = (statistics.median(float(row[i]) for row in rows) for i in (0, 1))
    with served(pounce, folder) as addr, posts.open() as lines:
        scored = subprocess.run(
            [pounce, "score", "--addr", addr], stdin=lines, check=True, capture_output=True
        ).stdout
    labels = [json.loads(line)["sentiment"].lower() for line in scored.splitlines()]
    return Measured(rate, 8, single / 1000, np.array([names.index(label) for label in labels]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pounce", type=Path, required=True, help="a release build")
    parser.add_argument("--model", type=Path, default=Path("model"))
    parser.add_argument("--file", type=Path, required=True, help="JSON lines with `text`")
    parser.add_argument("--posts", type=int, default=2000)
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    torch.set_num_threads(args.cores)
    texts = [json.loads(line)["text"] for line in args.file.open()][: args.posts]
    bench = Bench(args.model, texts)
    print(f"{len(texts)} posts of {bench.tokens():.0f} tokens on average, cores: {args.cores}\n")

    with tempfile.TemporaryDirectory() as temporary:
        posts, fp32, dynamic = (Path(temporary) / n for n in ("posts.jsonl", "32.onnx", "8.onnx"))
        posts.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        model = BertForSequenceClassification.from_pretrained(args.model, dtype=torch.float32)
        onnx.save(to_onnx(Classifier(model)), fp32)
        quantize_dynamic(fp32, dynamic, weight_type=QuantType.QInt8, per_channel=True)
        read = openvino.Core().read_model
        peers = {
            "torch, fp32": lambda: with_torch(args.model, torch.float32),
            "torch, bf16": lambda: with_torch(args.model, torch.bfloat16),
            "onnxruntime, model.onnx (int8)": lambda: with_onnxruntime(
                args.model / "model.onnx", args.cores
            ),
            "onnxruntime, its own dynamic int8": lambda: with_onnxruntime(dynamic, args.cores),
            "OpenVINO, bf16": lambda: with_openvino(read(fp32), "bf16", args.cores),
            "OpenVINO, int8 by NNCF": lambda: with_openvino(
                calibrated(fp32, bench), "bf16", args.cores
            ),
        }
        found = {name: bench.measure(build(), args.rounds) for name, build in peers.items()}
        names = ["negative", "neutral", "positive"]
        found["bert"] = ours(args.pounce, args.model, posts, len(texts), args.cores, names)

    reference, best = found["torch, fp32"], found["bert"]
    print("| engine | posts/s | of bert's | best batch | one post | of bert's | class of fp32 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, it in found.items():
        same = np.mean(it.classes == reference.classes)
        print(
            f"| {name} | {it.rate:.0f} | {it.rate / best.rate:.2f} | {it.batch} "
            f"| {it.single * 1000:.2f} ms | {it.single / best.single:.1f} | {same:.2%} |"
        )


if __name__ == "__main__":
    main()
