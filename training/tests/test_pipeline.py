"""The whole pipeline on a tiny world, and conversion of other people's classifiers."""

import dataclasses
import json
import math
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import torch
from safetensors.torch import load, load_file, save_file
from transformers import (
    RobertaConfig,
    RobertaForSequenceClassification,
)

import convert
import counterfactuals
import data
import evaluate
import make
import models
import scoring
import teacher
import train
from heads import ANSWERS
from labels import Labels
from tests import tiny


class Pipeline(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.root = Path(cls.scratch.name)
        (cls.root / "data").mkdir()
        tiny.write_data(cls.root / "data")
        draws = {source.name: 1.0 for source in data.SOURCES} | {data.OWN: 0.1}
        plan = train.Plan("p", epochs=4, rate=3e-3, seed=1, batch=48, dropout=0.0, draws=draws)
        sizes = counterfactuals.Sizes(1, 1, {0: 50, 3: 50}, {3: 50, 4: 50}, 1, 500)
        cls.recipe = make.Recipe(
            plan=plan,
            again=(1, 1e-3),
            last=dataclasses.replace(plan, name="last", epochs=1, rate=1e-3, dropout=0.1),
            fair=dataclasses.replace(plan, name="fair", epochs=1, rate=1e-4),
            joint_sizes=sizes,
            fair_sizes=sizes,
            joint=dataclasses.replace(
                plan,
                name="joint",
                epochs=1,
                rate=1e-3,
                draws=draws | {make.COUNTERFACTUAL: 0.5},
            ),
            student=make.Student("student", "1", (0, 2)),
        )
        train_rows, cls.rows = data.load(cls.root / "data")
        tiny.scored(train_rows[::2]).write(cls.root / "scores.bin")
        base = tiny.network(2)
        base.model.save_pretrained(cls.root / "base")
        base.tokeniser.save(str(cls.root / "base" / "tokenizer.json"))
        cls.make()

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    @classmethod
    def make(cls):
        root = cls.root
        with mock.patch.object(models, "minilm", lambda seed: tiny.network(3, seed)):
            make.make(
                cls.recipe,
                root / "data",
                root / "scores.bin",
                root / "state",
                root / "model",
                root / "golden",
                root / "base",
            )

    def test_it_learns_the_tiny_world(self):
        scorer = scoring.Scorer(self.root / "model", scoring.Int8(self.root / "model"))
        rows = [r for r in self.rows if r.source == "semeval_val"]
        found = scorer.labels(scorer([r.text for r in rows]))
        self.assertGreater((found == [r.answers.sentiment for r in rows]).mean(), 0.9)

    def test_it_answers_both_questions(self):
        scorer = scoring.Scorer(self.root / "model", scoring.Int8(self.root / "model"))
        rows = [r for r in self.rows if r.source in data.CARE_SETS]
        found = scorer([r.text for r in rows])[:, data.DISCONTENT] > 0.5
        self.assertGreater((found == [r.answers.discontent for r in rows]).mean(), 0.9)
        made_up = scorer(["parcel late broken lost", "thanks great lovely quick"])
        self.assertGreater(made_up[0, data.DISCONTENT], 0.5)
        self.assertLess(made_up[1, data.DISCONTENT], 0.5)

    def test_the_folder_says_how_labels_are_chosen(self):
        config = json.loads((self.root / "model" / "config.json").read_text())
        weights = config["pounce"]["label_weights"]
        self.assertEqual(list(weights), data.LABELS)
        for weight in weights.values():
            self.assertTrue(math.isfinite(weight) and weight > 0, weights)

    def test_no_training_row_is_near_a_validation_row(self):
        rows, held_out = data.load(self.root / "data")
        keys = {key for row in held_out for key in data._keys(row.text)}
        self.assertFalse([row for row in rows if data._keys(row.text) & keys])

    def test_a_set_that_is_missing_is_named_and_done_without(self):
        with tempfile.TemporaryDirectory() as folder:
            tiny.write_data(Path(folder))
            (Path(folder) / "apple.jsonl").unlink()
            with self.assertLogs("data", "WARNING") as logged:
                rows, held_out = data.load(Path(folder))
        self.assertIn("apple.jsonl", logged.output[0])
        self.assertNotIn("apple", {row.source for row in rows + held_out})

    def test_int8_scores_do_not_depend_on_batch_mates(self):
        engine = scoring.Int8(self.root / "model")
        ids = np.array([[2, 60, 61, 62, 3], [2, 70, 3, 0, 0]])
        mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
        alone = engine.logits(ids[1:, :3], mask[1:, :3])
        np.testing.assert_allclose(engine.logits(ids, mask)[1:], alone, atol=1e-5)

    def test_the_graph_is_plain_int8(self):
        graph = onnx.load(self.root / "model" / "model.onnx").graph
        operators = {node.op_type for node in graph.node}
        self.assertIn("MatMulInteger", operators)
        self.assertNotIn("Round", operators)
        self.assertEqual({node.domain for node in graph.node}, {""})

    def test_the_card_can_be_written(self):
        report = evaluate.report(self.rows, self.root / "model")
        for part in (
            "macro recall",
            "average precision",
            "twins, both right",
            "same label",
            "posts/s",
            "another mention",
            "made-up post |",
        ):
            self.assertIn(part, report)

    def test_golden_scores_are_those_of_the_shipped_weights(self):
        folder = self.root / "model"
        lines = (self.root / "golden" / "student.jsonl").read_text().splitlines()
        self.assertGreaterEqual(len(lines), 200)
        records = [json.loads(line) for line in lines]
        scorer = scoring.Scorer(folder, scoring.Fp32(folder))
        wanted = np.array([[r[name] for name in data.OUTPUTS] for r in records])
        np.testing.assert_allclose(scorer([r["text"] for r in records]), wanted, atol=1e-4)

    def test_the_folder_says_what_it_is(self):
        config = json.loads((self.root / "model" / "config.json").read_text())
        self.assertEqual(config["num_hidden_layers"], 2)
        self.assertEqual(config["pounce"]["name"], "student")

    def test_each_step_starts_where_the_one_before_it_left_the_weights(self):
        said = {}
        for run in ("minilm", "minilm-again", "base", "base-again", "last", "joint", "fair"):
            state = torch.load(self.root / "state" / f"{run}.pt", weights_only=True)
            said[run] = state["model"]["bert.encoder.layer.0.output.dense.weight"]
        last, joint, fair = (said.pop(run) for run in ("last", "joint", "fair"))
        self.assertFalse(torch.equal(said["base"], said["base-again"]))
        mean = sum(w * said[run] for run, w in zip(said, (1, 1, 2, 2))) / 6
        self.assertFalse(torch.equal(mean, last))
        before = mean.lerp(last, self.recipe.way)
        self.assertFalse(torch.equal(before, joint))
        start = before.lerp(joint, self.recipe.joint_way)
        self.assertFalse(torch.equal(fair, start))
        for other in (mean, last, before, joint):
            self.assertLess((fair - start).norm(), (fair - other).norm() / 2)
        shipped = load_file(self.root / "model" / "model.safetensors")
        torch.testing.assert_close(shipped["bert.encoder.layer.0.output.dense.weight"], fair.half())

    def test_a_folder_s_model_can_begin_with_a_later_step(self):
        folder, out, state = self.root / "model", self.root / "later", self.root / "state-later"
        start = make.Start("joint", folder)
        golden = self.root / "golden-later"
        where = (self.root / "data", self.root / "scores.bin", state, out, golden)
        make.make(self.recipe, *where, start=start)
        self.assertEqual([file.name for file in state.iterdir()], [start.key()])
        runs = {file.stem for file in (state / start.key()).iterdir()}
        self.assertEqual(runs, {"joint", "fair"})
        texts = [row.text for row in self.rows[:200]]
        one, two = (scoring.Scorer(f, scoring.Fp32(f))(texts) for f in (folder, out))
        self.assertLess(np.abs(one - two).mean(), 0.05)
        self.assertFalse(np.array_equal(one, two))
        # Another model's results are others.
        self.assertNotEqual(make.Start("joint", out).key(), start.key())

    def test_a_model_of_three_classes_gets_an_output_for_discontent(self):
        network = tiny.network(2, outputs=3)
        folder = self.root / "three"
        network.model.save_pretrained(folder)
        network.tokeniser.save(str(folder / "tokenizer.json"))
        given = network.model.eval().classifier
        got = models.shipped(folder, 1).model.classifier
        torch.testing.assert_close(got.weight[:3], given.weight)
        apart = given.weight[0] - (given.weight[1] + given.weight[2]) / 2
        torch.testing.assert_close(got.weight[3], apart)
        self.assertEqual(got.bias.shape, (4,))

    def test_a_finished_run_is_not_trained_again(self):
        before = (self.root / "state" / "base-again.pt").stat().st_mtime_ns
        self.make()
        self.assertEqual((self.root / "state" / "base-again.pt").stat().st_mtime_ns, before)


class Resuming(unittest.TestCase):
    def test_an_interrupted_run_ends_in_the_same_weights(self):
        rows = [
            data.Row(f"{word} word{n}", answers, "own")
            for n in range(40)
            for answers, word in zip(data.OF_CLASS, ("late", "form", "great"))
        ]
        draws = {"own": 4.0}
        plan = train.Plan("run", epochs=2, rate=1e-3, seed=4, batch=16, draws=draws)
        wanted = torch.from_numpy(np.stack([teacher.targets(row)[:4] for row in rows]))

        class Stop(Exception):
            pass

        def run(folder, stop_at=None):
            network = tiny.network(2)
            steps = [0]

            class Stopping(models.Network):
                def forward(self, ids, mask, dropout=0.0):
                    steps[0] += 1
                    if steps[0] == stop_at:
                        raise Stop
                    return super().forward(ids, mask, dropout)

            stopping = Stopping(network.model, network.tokeniser)
            train.run(stopping, ANSWERS, rows, wanted, plan, folder)
            return network.model.state_dict()

        with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
            whole = run(Path(a))
            with mock.patch.object(train, "CHECKPOINT_SECONDS", -1), self.assertRaises(Stop):
                run(Path(b), stop_at=20)
            for name, value in run(Path(b)).items():
                torch.testing.assert_close(value, whole[name], msg=name)


class Conversion(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = Path(scratch.name)

    def _folder(self, labels, roberta=False):
        network = tiny.network(2, outputs=len(labels))
        if roberta:
            config = RobertaConfig(
                **{
                    **network.model.config.to_dict(),
                    "model_type": "roberta",
                    "max_position_embeddings": 130,
                }
            )
            model = RobertaForSequenceClassification(config)
        else:
            model = network.model
        model.config.id2label = dict(enumerate(labels))
        torch.manual_seed(7)
        torch.nn.init.normal_(
            next(p for n, p in model.named_parameters() if "classifier" in n and p.ndim == 2),
            std=2.0,
        )
        model.save_pretrained(self.root / "in")
        network.tokeniser.save(str(self.root / "in" / "tokenizer.json"))
        return self.root / "in"

    def _check(self, folder, given, becomes):
        said = convert.convert(folder, self.root / "out", None, given)
        self.assertIn("% of", said)
        self.assertTrue((self.root / "out" / "model.onnx").is_file())
        config = json.loads((self.root / "out" / "config.json").read_text())
        self.assertEqual(config["id2label"]["2"], "negative")
        self.assertEqual(config["pounce"]["normalisation"], becomes)

    def test_bert_in_another_order_of_labels(self):
        self._check(self._folder(["positive", "neutral", "negative"]), None, "none")

    def test_roberta(self):
        folder = self._folder(["positive", "neutral", "negative"], roberta=True)
        self._check(folder, "tweet-eval", "tweet-eval")

    def _edit(self, folder, **changes):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    def _refuses(self, folder, said, names=None):
        with self.assertRaisesRegex(convert.Refused, said) as refused:
            convert.convert(folder, self.root / "out", names, None)
        self.assertNotIn("\n", str(refused.exception))
        self.assertFalse((self.root / "out").exists())

    def test_what_the_source_says_of_itself_is_kept(self):
        folder = self._folder(["positive", "neutral", "negative"])
        said = {
            "name": "theirs",
            "revision": "9",
            "languages": ["en", "de"],
            "normalisation": "social-v1",
            "tokens_max": 48,
            "label_weights": {"negative": 1.5, "neutral": 0.75, "positive": 0.9},
            "thresholds": {"advocate": 0.7},
        }
        self._edit(folder, pounce=said)
        self._check(folder, "tweet-eval", "tweet-eval")
        config = json.loads((self.root / "out" / "config.json").read_text())
        changed = {"name": "in", "normalisation": "tweet-eval"}
        keys = ("languages", "tokens_max", "label_weights", "thresholds")
        kept = {key: said[key] for key in keys}
        self.assertEqual(config["pounce"], kept | changed)
        self._edit(folder, pounce={"tokens_max": 500})
        self._check(folder, None, "none")
        config = json.loads((self.root / "out" / "config.json").read_text())
        bare = {"name": "in", "normalisation": "none", "tokens_max": 128}
        self.assertEqual(config["pounce"], bare)

    def test_agreement_is_that_of_the_weighted_labels(self):
        weights = {"negative": 1.5, "neutral": 1.0, "positive": 1.0}
        names = ["neutral", "negative", "positive"]
        pytorch = np.log(np.array([[0.46, 0.45, 0.09], [0.59, 0.395, 0.015]]))
        int8 = np.log(np.array([[0.45, 0.46, 0.09], [0.60, 0.385, 0.015]]))
        self.assertEqual(convert.agreement(pytorch, int8, Labels(names))[0], 0.5)
        same, gap = convert.agreement(pytorch[:1], int8[:1], Labels(names, weights))
        self.assertEqual(same, 1.0)
        self.assertAlmostEqual(gap, 0.01, places=6)
        self.assertEqual(convert.agreement(pytorch, int8, Labels(names, weights))[0], 0.5)
        with self.assertRaisesRegex(convert.Refused, "not finite"):
            convert.agreement(pytorch * np.nan, int8, Labels(names))

    def test_it_refuses_outputs_that_the_service_refuses(self):
        folder = self._folder(["positive", "neutral", "negative"])
        self._refuses(folder, "both negative and positive", "negative,neutral,neutral")
        self._edit(folder, id2label={"0": "negative", "2": "positive"})
        self._refuses(folder, "id2label")
        for problem in ("multi_label_classification", "regression", "ranking"):
            self._edit(folder, problem_type=problem)
            self._refuses(folder, problem)

    def test_it_refuses_a_section_that_the_service_refuses(self):
        folder = self._folder(["positive", "neutral", "negative"])
        for said, reason in (
            (None, "no object"),
            ({"languages": "en"}, "languages"),
            ({"tokens_max": "48"}, "tokens_max"),
            ({"tokens_max": 2}, "2 special tokens"),
            ({"normalisation": "mine"}, "normalisation is mine"),
            ({"normalisation": ["none"]}, "normalisation must be"),
            ({"label_weights": {"negative": 2}}, "label_weights"),
            ({"label_weights": {"negative": 0, "neutral": 1, "positive": 1}}, "above 0"),
            ({"label_weights": {"negative": 1e39, "neutral": 1, "positive": 1}}, "above 0"),
            ({"thresholds": {"discontent": 0.7}}, "thresholds"),
            ({"thresholds": {"advocate": 2}}, "thresholds"),
            ({"thresholds": {"reach": 0.5}}, "thresholds"),
            ({"thresholds": {"discontent": {"low": 0.9, "medium": 0.8, "high": 1}}}, "thresholds"),
        ):
            self._edit(folder, pounce=said)
            self._refuses(folder, reason)

    def test_it_refuses_a_config_that_transformers_does_not_read(self):
        folder = self._folder(["positive", "neutral", "negative"])
        for changes, said in (
            ({"hidden_size": "wide"}, "hidden_size"),
            ({"hidden_size": 32, "id2label": ["negative", "positive"]}, "config.json"),
            ({"model_type": "nonesuch"}, "nonesuch"),
        ):
            self._edit(folder, **changes)
            self._refuses(folder, said)
        for text in ("{", "[]"):
            (folder / "config.json").write_text(text)
            self._refuses(folder, "config.json")

    def test_it_refuses_a_tokeniser_that_is_damaged(self):
        folder = self._folder(["positive", "neutral", "negative"])
        (folder / "tokenizer.json").write_text("{")
        self._refuses(folder, "tokenizer.json")

    def test_it_refuses_weights_that_are_damaged_missing_or_of_another_shape(self):
        folder = self._folder(["positive", "neutral", "negative"])
        file = folder / "model.safetensors"
        whole = file.read_bytes()
        weights = load(whole)
        for damaged in (b"", whole[:5000]):
            file.write_bytes(damaged)
            self._refuses(folder, "weights can't be read: SafetensorError")
        without = {key: value for key, value in weights.items() if "classifier" not in key}
        save_file(without, file, metadata={"format": "pt"})
        self._refuses(folder, "missing.*: classifier.bias, classifier.weight$")
        other = weights | {"classifier.weight": torch.zeros(2, 32)}
        save_file(other, file, metadata={"format": "pt"})
        self._refuses(folder, "another shape: classifier.weight$")
        file.write_bytes(whole)
        file.rename(folder / "model-00001-of-00002.safetensors")
        self._refuses(folder, "weights can't be read")

    def test_it_refuses_what_is_no_sentiment(self):
        with self.assertRaisesRegex(convert.Refused, "--labels"):
            convert.convert(
                self._folder(["toxic", "clean", "spam"]), self.root / "out", None, "none"
            )

    def test_it_refuses_a_folder_without_weights(self):
        folder = self._folder(["positive", "neutral", "negative"])
        (folder / "model.safetensors").unlink()
        with self.assertRaisesRegex(convert.Refused, "safetensors"):
            convert.convert(folder, self.root / "out", None, "none")

    def test_it_refuses_labels_of_another_number(self):
        with self.assertRaisesRegex(convert.Refused, "2 labels.*3 outputs"):
            convert.convert(
                self._folder(["a", "b", "c"]), self.root / "out", "negative,positive", "none"
            )
