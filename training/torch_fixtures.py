"""Makes tests/data/torch: tiny random classifiers of each architecture, with golden logits.

Each folder is a model as the hub has it: config.json, the architecture's real kind
of tokenizer trained on the made-up text below, random weights, and golden.jsonl
with what transformers says of each post: token ids and logits (fp32).

    python -m venv .venv-torch && .venv-torch/bin/pip install -r training/torch_fixtures.txt
    .venv-torch/bin/python training/torch_fixtures.py
"""

import io
import json
import math
import shutil
from pathlib import Path

import sentencepiece
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer
from transformers import AutoModelForSequenceClassification

OUT = Path(__file__).resolve().parent.parent / "tests" / "data" / "torch"

TEXT = [
    "the parcel came a day early and the box was neat, thank you",
    "three weeks of waiting and nobody answers the phone, never again",
    "is the shop in the old town open on Sunday?",
    "the update broke my headset, sound cuts out every minute",
    "best coffee in the whole station, the staff are so kind",
    "my refund is still missing and the chat bot is useless",
    "they changed the logo, I do not mind either way",
    "o atendimento foi ótimo, chegou antes do prazo",
    "die Lieferung kam zu spät und der Karton war nass",
    "cena jest w porządku, ale jakość mogłaby być lepsza",
    "доставка быстрая, спасибо большое",
    "送货很快，包装也很好",
]
POSTS = [
    "Thank you",
    "the box was wet and the refund is missing!!",
    "Best staff ever, so kind \N{SMILING FACE WITH OPEN MOUTH}",
    "is it open?",
    "never again... three weeks, nobody answers",
    "o prazo passou e nada chegou",
    "спасибо, очень быстро",
    "包装很好",
    "  spaces   around  and\ttabs ",
    "words-with-hyphens, cafés & e-mails: 24/7 @ 50%",
    "@shop &lt;3 thank you https://example.org/late",
    "neither here nor there, they changed the logo and the sound cuts out every minute of the day",
]

STARS = ["1 star", "2 stars", "3 stars", "4 stars", "5 stars"]
TWO = ["NEGATIVE", "POSITIVE"]
THREE = ["negative", "neutral", "positive"]
NAMELESS = ["LABEL_0", "LABEL_1", "LABEL_2"]

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 16}
BERT_LIKE = {**SMALL, "intermediate_size": 32, "max_position_embeddings": 64}


def wordpiece(folder: Path) -> transformers.PreTrainedTokenizerFast:
    """WordPiece, lower-cased; the folder gets vocab.txt and no tokenizer.json."""
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(TEXT, vocab_size=260, min_frequency=1, show_progress=False)
    tokenizer.save_model(str(folder))
    note(folder, tokenizer_class="BertTokenizer", do_lower_case=True)
    return transformers.BertTokenizer(str(folder / "vocab.txt"), do_lower_case=True)


def byte_level(folder: Path) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE as RoBERTa has it: vocab.json and merges.txt."""
    files = byte_pairs(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    note(folder, tokenizer_class="RobertaTokenizer")
    return transformers.RobertaTokenizer(*files)


def byte_level_deberta(folder: Path) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE as DeBERTa has it: other names of the special tokens."""
    files = byte_pairs(folder, ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"])
    note(folder, tokenizer_class="DebertaTokenizer")
    return transformers.DebertaTokenizer(*files)


def byte_pairs(folder: Path, special: list[str]) -> list[str]:
    """Trains byte-level BPE and returns the files of its vocabulary and its merges."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        TEXT, vocab_size=340, min_frequency=1, special_tokens=special, show_progress=False
    )
    return tokenizer.save_model(str(folder))


def sentence_pieces(file: Path, **special: object) -> None:
    """Trains a Unigram model; only XLM-RoBERTa's carries the 240 KB of nmt_nfkc's rules."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_writer=model,
        vocab_size=220,
        model_type="unigram",
        character_coverage=1.0,
        minloglevel=2,
        hard_vocab_limit=False,
        **special,
    )
    file.write_bytes(model.getvalue())


def unigram_xlm(folder: Path) -> transformers.PreTrainedTokenizerFast:
    """SentencePiece as XLM-RoBERTa has it."""
    file = folder / "sentencepiece.bpe.model"
    sentence_pieces(file, unk_id=0, bos_id=1, eos_id=2, normalization_rule_name="nmt_nfkc")
    note(folder, tokenizer_class="XLMRobertaTokenizer")
    return transformers.XLMRobertaTokenizer.from_pretrained(str(folder))


def unigram_albert(folder: Path) -> transformers.PreTrainedTokenizerFast:
    """SentencePiece as ALBERT has it: lower-cased, no accents."""
    file = folder / "spiece.model"
    sentence_pieces(
        file,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        pad_piece="<pad>",
        control_symbols="[CLS],[SEP]",
        user_defined_symbols="[MASK]",
        normalization_rule_name="identity",
    )
    note(folder, tokenizer_class="AlbertTokenizer", do_lower_case=True)
    return transformers.AlbertTokenizer.from_pretrained(str(folder))


def unigram_deberta(folder: Path) -> transformers.PreTrainedTokenizerFast:
    """SentencePiece as DeBERTa v3 has it."""
    file = folder / "spm.model"
    sentence_pieces(
        file,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        normalization_rule_name="identity",
    )
    note(folder, tokenizer_class="DebertaV2Tokenizer", do_lower_case=False)
    return transformers.DebertaV2Tokenizer.from_pretrained(str(folder))


def note(folder: Path, **facts: object) -> None:
    """Writes tokenizer_config.json."""
    (folder / "tokenizer_config.json").write_text(json.dumps(facts, indent=2) + "\n")


# name, tokenizer, labels, configuration, weights on disk
MODELS = [
    ("bert", wordpiece, STARS, BERT_LIKE, torch.float32),
    (
        "distilbert",
        wordpiece,
        TWO,
        {"n_layers": 2, "n_heads": 4, "dim": 16, "hidden_dim": 32, "max_position_embeddings": 64},
        torch.float16,
    ),
    (
        "roberta",
        byte_level,
        THREE,
        {**BERT_LIKE, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
        torch.float32,
    ),
    (
        "xlm-roberta",
        unigram_xlm,
        THREE,
        {**BERT_LIKE, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
        torch.bfloat16,
    ),
    ("albert", unigram_albert, THREE, {**BERT_LIKE, "embedding_size": 8}, torch.float32),
    ("electra", wordpiece, NAMELESS, {**BERT_LIKE, "embedding_size": 8}, torch.float32),
    (
        "mobilebert",
        wordpiece,
        THREE,
        {
            **BERT_LIKE,
            "embedding_size": 8,
            "intra_bottleneck_size": 8,
            "num_feedforward_networks": 2,
        },
        torch.float32,
    ),
    (
        "deberta",
        byte_level_deberta,
        THREE,
        {
            **BERT_LIKE,
            "type_vocab_size": 0,
            "relative_attention": True,
            "pos_att_type": ["c2p", "p2c"],
            "max_relative_positions": -1,
            "position_biased_input": False,
            "pooler_hidden_size": 16,
        },
        torch.float32,
    ),
    (
        # As deberta-v3-base, with buckets small enough for short posts to leave the linear part.
        "deberta-v2",
        unigram_deberta,
        THREE,
        {
            **BERT_LIKE,
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 8,
            "pos_att_type": ["p2c", "c2p"],
            "max_relative_positions": -1,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "pooler_hidden_size": 16,
        },
        torch.float32,
    ),
    (
        # As deberta-v2-xlarge: a convolution beside the first layer.
        "deberta-v2-conv",
        unigram_deberta,
        THREE,
        {
            **BERT_LIKE,
            "type_vocab_size": 0,
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "max_relative_positions": -1,
            "conv_kernel_size": 3,
            "conv_act": "gelu",
            "position_biased_input": False,
            "pooler_hidden_size": 16,
        },
        torch.float32,
    ),
]


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights of about the spread of trained ones, so that every part moves the logits."""
    generator = torch.Generator().manual_seed(seed)
    # MobileBERT normalises nothing: larger weights would saturate its last tanh.
    gain = 0.7 if model.config.model_type == "mobilebert" else 1.5
    with torch.no_grad():
        for name, value in model.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if "embeddings" in name and value.dim() == 2 and "transformation" not in name:
                value.copy_(0.1 * noise)
            elif value.dim() >= 2:
                value.copy_(gain / math.sqrt(value[0].numel()) * noise)
            elif name.endswith("weight"):
                value.copy_(1 + 0.2 * noise)
            else:
                value.copy_(0.2 * noise)


def longest(tokenizer: transformers.PreTrainedTokenizerFast, tokens: int) -> str:
    """A post of exactly `tokens` tokens."""
    words = ["the", "box", "was", "neat", "and", "late", "!", "x"]
    post, length, turn = "", len(tokenizer("").input_ids), 0
    while length < tokens:
        trials = [f"{post} {words[(turn + i) % len(words)]}".strip() for i in range(len(words))]
        lengths = [len(tokenizer(trial).input_ids) for trial in trials]
        fits = [i for i in range(len(words)) if length < lengths[i] <= tokens]
        post, length, turn = trials[fits[0]], lengths[fits[0]], turn + 1
    return post


def save_weights(folder: Path, name: str, weights: dict[str, torch.Tensor]) -> None:
    """RoBERTa's as the pickle that many hub folders still have, the others' as safetensors."""
    if name == "roberta":
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def make(seed: int, name: str, tokenize, labels, settings, dtype) -> None:
    """One folder."""
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = tokenize(folder)
    config = transformers.AutoConfig.for_model(
        name.removesuffix("-conv"),
        **settings,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        id2label=dict(enumerate(labels)),
        label2id={label: output for output, label in enumerate(labels)},
    )
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    model = model.float().eval()
    randomise(model, seed)
    model.to(dtype)
    weights = {key: value.detach().clone() for key, value in model.state_dict().items()}
    model.float()
    config.architectures = [type(model).__name__]
    (folder / "config.json").write_text(config.to_json_string(use_diff=False))
    save_weights(folder, name, weights)

    positions = config.max_position_embeddings
    if "roberta" in name:
        positions -= config.pad_token_id + 1
    posts = [*POSTS, longest(tokenizer, positions)]
    with (folder / "golden.jsonl").open("w") as golden, torch.no_grad():
        for post in posts:
            ids = tokenizer(post).input_ids
            logits = model(input_ids=torch.tensor([ids])).logits[0].tolist()
            line = {"text": post, "ids": ids, "logits": [round(logit, 7) for logit in logits]}
            golden.write(json.dumps(line, ensure_ascii=False) + "\n")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{name}: {size >> 10} KiB, {len(posts[-1])} bytes make {positions} tokens")


if __name__ == "__main__":
    for number, entry in enumerate(MODELS):
        make(number, *entry)
