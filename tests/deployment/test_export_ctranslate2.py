"""Export to CTranslate2: equal log-probabilities and translations, or no output."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY_RUN, toy_pairs, tree

from transformer_cli.artifacts.loading import LoadedModel, load_model, load_model_source
from transformer_cli.artifacts.model_source import open_model_source
from transformer_cli.artifacts.run_directory import Vocabularies
from transformer_cli.batch import collate
from transformer_cli.config import load_config
from transformer_cli.data.tokenizer import Tokenizer, train_tokenizer
from transformer_cli.deployment import export, parity
from transformer_cli.deployment.ctranslate2_spec import build_spec
from transformer_cli.deployment.ctranslate2_support import QUANTIZATIONS
from transformer_cli.deployment.export import NOTES, ExportRequest, export_model
from transformer_cli.deployment.parity import (
    ExportedEngine,
    ReferenceEngine,
    ctranslate2_length_penalty,
    select_lines,
)
from transformer_cli.errors import CheckpointError, ConfigError, DataError, DiskError, UserError
from transformer_cli.models.registry import build_model
from transformer_cli.schema import Config
from transformer_cli.token_ids import BOS, EOS, PAD, UNK

ctranslate2 = pytest.importorskip("ctranslate2")

CPU = torch.device("cpu")
LINES = [s for s, _ in toy_pairs(12, seed=5)]


@cache
def tokenizer(side: int | None) -> Tokenizer:
    """A tokenizer of one side of the toy language, or (None) of both."""
    sentences = [text for pair in toy_pairs(200) for text in (pair if side is None else pair[side : side + 1])]
    return train_tokenizer(sentences, load_config(None, [*TINY_RUN, "tokenizer.vocab_size=90"]).tokenizer)[0]


def random_model(*settings: str) -> LoadedModel:
    """A model with these settings and random weights, including those of the norms."""
    base = ["model.encoder_layers=2", "model.decoder_layers=2", "data.max_length=60"]
    config = load_config(None, [*TINY_RUN, *base, *settings])
    joint = config.tokenizer.joint
    vocabularies = Vocabularies(tokenizer(None), tokenizer(None))
    if not joint:
        vocabularies = Vocabularies(tokenizer(0), tokenizer(1))
    model = build_model(config.model, vocabularies.src.vocab_size, vocabularies.tgt.vocab_size).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return LoadedModel(config, vocabularies, model, Path("step_000000000"), Path("evaluation"))


def write_spec(loaded: LoadedModel, directory: Path, quantization: str = "float32") -> ExportedEngine:
    spec = build_spec(loaded.config.model, dict(loaded.model.named_parameters()), loaded.vocabularies, 2048)
    spec.optimize(quantization)
    spec.save(str(directory))
    return ExportedEngine(directory, loaded)


OPTIONS = [
    f"model.norm={norm} model.norm_type={norm_type} model.activation={activation}"
    for norm in ("pre", "post")
    for norm_type in ("layer", "rms")
    for activation in ("relu", "gelu", "swiglu")
] + [
    f"model.tie_embeddings={tie} model.positions={positions} tokenizer.joint={'true' if tie == 'all' else 'false'}"
    for tie in ("none", "decoder", "all")
    for positions in ("sinusoidal", "learned", "rotary")
] + [
    "model.norm=post model.norm_type=rms model.activation=swiglu model.positions=rotary model.tie_embeddings=none",
    "model.norm=post model.positions=learned model.activation=gelu model.attention=reference",
    "model.encoder_layers=1 model.decoder_layers=3 model.num_heads=2 model.d_ff=50",
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_every_option_gives_equal_log_probs_and_translations(options: str, tmp_path: Path) -> None:
    loaded = random_model(*options.split())
    engine = write_spec(loaded, tmp_path)
    src, tgt = loaded.vocabularies.src, loaded.vocabularies.tgt
    pairs = toy_pairs(9, seed=6)
    sources, targets = src.encode([s for s, _ in pairs]), tgt.encode([t for _, t in pairs])
    batch = collate([np.append(s, EOS) for s in sources], [np.append(t, EOS) for t in targets])
    with torch.no_grad():
        logits = loaded.model.logits(loaded.model(batch))
    logits[:, [PAD, UNK, BOS]] = -torch.inf
    expected = logits.log_softmax(-1).gather(1, batch.tgt_out[:, None])[:, 0].numpy()
    scores = engine.model.translator.score_batch(
        [[src.vocabulary[i] for i in ids] for ids in sources],
        [[tgt.vocabulary[i] for i in ids] for ids in targets],
    )
    actual = np.concatenate([score.log_probs for score in scores])
    assert np.abs(expected - actual).max() < 1e-4
    assert ReferenceEngine(loaded).translate(LINES, 1, 0.0) == engine.translate(LINES, 1, 0.0)


def test_special_tokens_are_never_generated(tmp_path: Path) -> None:
    loaded = random_model("model.tie_embeddings=none")
    with torch.no_grad():  # UNK gets the highest logits, then EOS
        loaded.model.output.weight.mul_(0.1)
        loaded.model.output.weight[[PAD, UNK, BOS]] *= 1e3
    engine = write_spec(loaded, tmp_path)
    sources = [[engine.model.src_tokens[i] for i in ids] for ids in loaded.vocabularies.src.encode(LINES)]
    for beam in (1, 4):
        results = engine.model.translator.translate_batch(sources, beam_size=beam, max_decoding_length=9)
        generated = {engine.model.tgt_ids[token] for result in results for token in result.hypotheses[0]}
        assert generated and not {PAD, UNK, BOS} & generated


def test_both_engines_give_the_same_empty_translations(tmp_path: Path) -> None:
    loaded = random_model("model.tie_embeddings=none")
    empty = 0
    for factor in (50, -1):  # EOS is likely with one of the two signs, whatever the hidden states are
        with torch.no_grad():
            loaded.model.output.weight[EOS] *= factor
        engine = write_spec(loaded, tmp_path)
        for beam in (1, 3):
            engines = (ReferenceEngine(loaded), engine)
            expected, actual = (e.translate(LINES, beam, parity.NO_PENALTY) for e in engines)
            empty += expected.count("")
            assert [text == "" for text in expected] == [text == "" for text in actual]
    assert empty


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_quantized_export_loads_and_keeps_the_model_unchanged(quantization: str, tmp_path: Path) -> None:
    loaded = random_model()
    before = {name: p.clone() for name, p in loaded.model.named_parameters()}
    engine = write_spec(loaded, tmp_path, quantization)
    assert len(engine.translate(LINES, 1, 1e-9)) == len(LINES)
    for name, parameter in loaded.model.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_all_quantizations_of_ctranslate2_are_supported() -> None:
    from ctranslate2.specs import model_spec

    assert set(QUANTIZATIONS) == set(model_spec.ACCEPTED_MODEL_TYPES)


def test_tied_matrices_are_stored_once(tmp_path: Path) -> None:
    sizes = {}
    for tie in ("all", "decoder", "none"):
        directory = tmp_path / tie
        directory.mkdir()
        write_spec(random_model(f"model.tie_embeddings={tie}"), directory)
        sizes[tie] = (directory / "model.bin").stat().st_size
    assert sizes["all"] < sizes["decoder"] < sizes["none"]


def request(run: Path, output: Path, **options: Any) -> ExportRequest:
    return ExportRequest(run, output, "ctranslate2", **options)


def exported(run: Path, output: Path, **options: Any) -> tuple[dict[str, Any], list[str]]:
    """Export a run; returns (the metadata of the export, the messages)."""
    messages: list[str] = []
    export_model(request(run, output, **options), messages.append)
    return json.loads((output / NOTES).read_text()), messages


def test_export_is_verified_on_the_validation_text(toy_run: Path, tmp_path: Path) -> None:
    before = tree(toy_run)
    notes, messages = exported(toy_run, tmp_path / "model")
    assert tree(toy_run) == before
    names = {"model.bin", "config.json", "shared_vocabulary.json", "tokenizer.model"}
    assert set(notes["sha256"]) == names and set(tree(tmp_path)) == {f"model/{n}" for n in (*names, NOTES)}
    greedy, beam, deployed = notes["proof"]
    assert greedy["lines"] == greedy["identical"] == beam["identical"] == 20 and greedy["bleu"] == 100.0
    assert beam["setting"] == "beam 5" and deployed["bleu"] > 80
    assert any("greedy: agreement 20/20, BLEU between the two 100.00" in line for line in messages)
    assert notes["metrics"]["metric"] == "bleu" and notes["metrics"]["best_score"] > 0
    assert notes["checkpoint"] == open_model_source(toy_run, "best").checkpoint.name
    assert notes["decoding"]["beam_size"] == 5 and 0.5 < notes["decoding"]["length_penalty"] < 1.0
    assert (tmp_path / "model/tokenizer.model").read_bytes() == (toy_run / "tokenizer.model").read_bytes()


def test_export_works_with_only_sentencepiece(toy_run: Path, tmp_path: Path) -> None:
    import sentencepiece

    exported(toy_run, tmp_path / "m")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "m/tokenizer.model"))
    engine = ctranslate2.Translator(str(tmp_path / "m"))
    results = engine.translate_batch([processor.encode(line, out_type=str) for line in LINES], beam_size=1)
    loaded = load_model(toy_run, CPU)
    expected = loaded.translator({"beam": 1}).translate(LINES)
    assert [processor.decode(r.hypotheses[0]) for r in results] == [t.text for t in expected]


def test_quantized_export_is_smaller_and_verified(toy_run: Path, tmp_path: Path) -> None:
    exported(toy_run, tmp_path / "float")
    notes, messages = exported(toy_run, tmp_path / "int8", quantization="int8")
    assert notes["quantization"] == "int8" and notes["proof"][0]["bleu"] >= parity.MIN_BLEU
    sizes = [(tmp_path / name / "model.bin").stat().st_size for name in ("int8", "float")]
    assert sizes[0] < sizes[1]
    assert any("computes in int8" in line for line in messages)


def test_other_checkpoints_can_be_exported(toy_run: Path, tmp_path: Path) -> None:
    notes, _ = exported(toy_run, tmp_path / "m", checkpoint="step_000000250")
    assert notes["checkpoint"] == "step_000000250"
    with pytest.raises(CheckpointError, match="no checkpoint 'average'"):
        exported(toy_run, tmp_path / "n", checkpoint="average")


def incorrect_spec(
    config: Any, weights: dict[str, torch.Tensor], vocabularies: Vocabularies, positions: int
) -> Any:
    """An incorrect export: keys and values of a cross-attention are swapped."""
    name = "decoder.layers.0.cross_attention.key_value.weight"
    key, value = weights[name].chunk(2)
    return build_spec(config, {**weights, name: torch.cat([value, key])}, vocabularies, positions)


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_export_that_fails_the_parity_check_is_not_written(
    quantization: str | None, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "build_spec", incorrect_spec)
    with pytest.raises(UserError, match="gives different translations: greedy: agreement") as caught:
        exported(toy_run, tmp_path / "m", quantization=quantization)
    assert caught.value.exit_code == 1 and "nothing was written" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["MIN_IDENTICAL", "MIN_BLEU"])
def test_thresholds_of_the_parity_check(
    name: str, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, name, 1e9)
    other = {"MIN_IDENTICAL": "int8", "MIN_BLEU": "float32"}[name]
    exported(toy_run, tmp_path / "other", quantization=other)
    with pytest.raises(UserError, match="is required"):
        exported(toy_run, tmp_path / "m", quantization={"int8": "float32", "float32": "int8"}[other])


def test_text_of_the_parity_check_can_be_given(toy_run: Path, tmp_path: Path) -> None:
    text = tmp_path / "lines"
    text.write_text("\n".join([*LINES[:4], "", "   ", " ".join(LINES * 20)]) + "\n")
    notes, _ = exported(toy_run, tmp_path / "m", proof=text)
    assert [p["lines"] for p in notes["proof"]] == [4, 4, 4]  # blank and overlong lines are not used
    text.write_text("\n\n")
    with pytest.raises(DataError, match="no text to verify"):
        exported(toy_run, tmp_path / "n", proof=text)
    with pytest.raises(DataError, match="no such file"):
        exported(toy_run, tmp_path / "n", proof=tmp_path / "none")
    assert not (tmp_path / "n").exists()


def test_options_missing_from_the_export_are_reported(tmp_path: Path) -> None:
    messages: list[str] = []
    loaded = random_model("decoding.length_penalty=0.6")
    decoding = loaded.config.decoding
    write_spec(loaded, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "MIN_IDENTICAL", 0.0)
        parity.check_parity(tmp_path, loaded, LINES, exact=True, notify=messages.append)
        assert not [line for line in messages if "does not include" in line]
        other = next(key for key in type(decoding).model_fields if key not in parity.SUPPORTED_OPTIONS)
        odd = loaded.config.model_copy(update={"decoding": decoding.model_copy(update={other: 3})})
        odd_run = LoadedModel(odd, loaded.vocabularies, loaded.model, loaded.checkpoint, loaded.evaluation)
        parity.check_parity(tmp_path, odd_run, LINES, exact=True, notify=messages.append)
    assert any(f"the export does not include decoding.{other}; set" in line for line in messages)


def test_selected_lines_are_evenly_spaced(toy_run: Path) -> None:
    loaded = load_model(toy_run, CPU)
    lines = [f"{s} {i}" for i, (s, _) in enumerate(toy_pairs(250))]
    selected = select_lines(lines, loaded)
    assert len(selected) == 100 == len(set(selected)) and selected[0] == lines[0] and selected[-1] in lines[245:]
    assert select_lines(lines[:7], loaded) == lines[:7]


def test_separate_vocabularies_and_learned_positions(tmp_path: Path) -> None:
    config = ["tokenizer.joint=false", "model.tie_embeddings=decoder", "model.positions=learned"]
    loaded = random_model(*config, "model.max_positions=64")
    source = InMemorySource(loaded)
    text = tmp_path / "lines"
    text.write_text("\n".join(LINES))
    notes = export_of(source, tmp_path / "m", text)
    assert notes["tokenizer"] == {"source": "tokenizer.src.model", "target": "tokenizer.tgt.model"}
    assert {"source_vocabulary.json", "target_vocabulary.json", "tokenizer.src.model"} <= set(notes["sha256"])
    assert notes["decoding"]["max_decoding_length"] <= 64 and notes["max_source_pieces"] == 59
    settings = notes["decoding"] | {"beam_size": 1}
    translator = ExportedEngine(tmp_path / "m", loaded).model.translator
    longest = [loaded.vocabularies.src.vocabulary[4]] * 59
    (result,) = translator.translate_batch(
        [longest], **settings
    )  # maximum source and target length: all positions are in the table
    assert len(result.hypotheses[0]) <= 64
    with pytest.raises(RuntimeError, match="position"):  # a longer line is an error and is not truncated
        translator.translate_batch([longest * 2], **settings)


class InMemorySource:
    """A `ModelSource` of a model in memory."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded, self.config, self.vocabularies = loaded, loaded.config, loaded.vocabularies
        self.checkpoint, self.evaluation, self.identity = loaded.checkpoint, loaded.evaluation, {"model": "x"}
        self.engines, self.weights_hash = Path("engines"), "0" * 64

    def metrics(self) -> dict[str, Any]:
        return {"step": 0}

    def weights(self) -> bytes:
        raise NotImplementedError

    def load_into(self, model: torch.nn.Module) -> None:
        model.load_state_dict(self.loaded.model.state_dict())

    def validation_lines(self) -> list[str]:
        return []

    def lexicon(self, size: int) -> None:
        return None


def export_of(source: InMemorySource, output: Path, text: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "open_model_source", lambda path, checkpoint: source)
        # An untrained model generates up to the length limit, where the engines stop differently.
        patch.setattr(parity, "MIN_IDENTICAL", 0.0)
        return exported(output, output, proof=text)[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [("encoder", "graph"), ("decoder", "recurrent"), ("positions", "alibi"), ("activation", "maxout"),
     ("norm", "sandwich"), ("norm_type", "batch"), ("tie_embeddings", "some")],
)  # fmt: skip
def test_unsupported_features_are_reported_by_key(key: str, value: str) -> None:
    loaded = random_model()
    config = loaded.config.model.model_copy(update={key: value})
    with pytest.raises(ConfigError, match=f"model.{key} {value}: cannot be exported to CTranslate2"):
        build_spec(config, dict(loaded.model.named_parameters()), loaded.vocabularies, 64)


def test_unsupported_weight_is_rejected() -> None:
    loaded = random_model()
    weights = {**dict(loaded.model.named_parameters()), "encoder.layers.0.gate.weight": torch.zeros(1)}
    with pytest.raises(ConfigError, match=r"does not support: encoder\.layers\.0\.gate\.weight"):
        build_spec(loaded.config.model, weights, loaded.vocabularies, 64)


def test_length_penalties_have_equal_slopes() -> None:
    alpha, length, step = 1.4, 15.0, 1e-4

    def slope(log_penalty: Any) -> float:
        return float((log_penalty(length + step) - log_penalty(length - step)) / (2 * step))

    expected = slope(lambda n: alpha * np.log((5 + n) / 6))
    actual = slope(lambda n: ctranslate2_length_penalty(alpha, length) * np.log(n))
    assert abs(expected - actual) < 1e-6


def test_length_penalty_of_ctranslate2_is_a_power_of_the_length_with_eos(toy_run: Path, tmp_path: Path) -> None:
    """`ctranslate2_length_penalty` assumes this; the test detects a change in a new version of CTranslate2."""
    loaded = load_model(toy_run, CPU)
    engine = write_spec(loaded, tmp_path)
    sources = [[engine.model.src_tokens[i] for i in ids] for ids in loaded.vocabularies.src.encode(LINES)]

    def scores(exponent: float) -> Sequence[Any]:
        results = engine.model.translator.translate_batch(
            sources, beam_size=1, length_penalty=exponent, return_scores=True
        )
        return [(len(r.hypotheses[0]) + 1, r.scores[0]) for r in results]

    for (length, plain), (_, scaled) in zip(scores(1e-9), scores(1.3), strict=True):
        assert scaled == pytest.approx(plain / length**1.3, rel=1e-4)


@pytest.mark.parametrize("kind", ["directory", "file", "dangling link"])
def test_existing_output_is_not_changed(kind: str, toy_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    if kind == "directory":
        output.mkdir()
        (output / "thesis.txt").write_text("mine")
    elif kind == "file":
        output.write_text("mine")
    else:
        output.symlink_to(tmp_path / "nowhere")
    before = tree(tmp_path)
    for to in ("ctranslate2", "bundle"):
        with pytest.raises(ConfigError, match="exists already; nothing in it was changed"):
            export_model(ExportRequest(toy_run, output, to), print)
    assert tree(tmp_path) == before and sorted(tmp_path.iterdir()) == [output]


def test_empty_directory_is_a_valid_output(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    exported(toy_run, tmp_path / "m")
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


def test_full_disk_leaves_no_files(toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(directory: Path, loaded: LoadedModel) -> dict[str, str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "_write_tokenizers", full)
    with pytest.raises(DiskError, match="No space left"):
        exported(toy_run, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_load_model_source_agrees_with_load_model(toy_run: Path) -> None:
    config: Config = load_model(toy_run, CPU).config
    loaded = load_model_source(open_model_source(toy_run, "last"), CPU)
    assert loaded.config == config and loaded.checkpoint.name == "step_000000500"
