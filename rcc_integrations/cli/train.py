"""`rcc train`: train a model, or write the training data to a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rcc_integrations.cli.clean import one_line
from rcc_integrations.cli.options import Json, Settings
from rcc_integrations.cli.output import Output, counted
from rcc_integrations.cli.train_export import export_samples
from rcc_integrations.cli.train_options import DATA, DEFAULTS, MODEL, PACE, RUN, numbers, option, shares
from rcc_integrations.errors import ConfigError, TrainingError
from rcc_integrations.training.settings import TrainSettings

if TYPE_CHECKING:
    from rcc_integrations.training.log import Progress


def train(
    context: typer.Context,
    output: Annotated[
        Path | None, option("output", "FOLDER", "Folder for the model, the state, the log and the curves.", RUN)
    ] = None,
    steps: Annotated[int | None, option("steps", "N", "Stop after this many steps.", RUN)] = None,
    minutes: Annotated[float | None, option("minutes", "MINUTES", "Stop after this much time.", RUN)] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over, even if the run could be resumed.", rich_help_panel=RUN)
    ] = False,
    must_fall: Annotated[
        bool, typer.Option("--must-fall", help="Fail unless the loss falls by 5 %.", rich_help_panel=RUN)
    ] = False,
    save_minutes: Annotated[float | None, option("save_minutes", "MINUTES", "How often to save.", RUN)] = None,
    check_samples: Annotated[
        int | None, option("check_samples", "N", "Number of validation texts at each save.", RUN)
    ] = None,
    seed: Annotated[int | None, option("seed", "N", "Seed of the data and of the initial weights.", RUN)] = None,
    device: Annotated[
        str | None, option("device", "cpu|cuda", "Device to train on.", RUN, "CUDA if there is one")
    ] = None,
    bf16: Annotated[
        bool | None,
        typer.Option(
            "--bf16/--float32",
            help="Compute in bfloat16 or float32.",
            show_default="bf16 on CUDA",
            rich_help_panel=RUN,
        ),
    ] = None,
    base: Annotated[str | None, option("base", "PATH_OR_HUB", "Causal LM to train on.", MODEL)] = None,
    start: Annotated[
        Path | None, option("start", "FOLDER", "RCC model to continue from; its layout is kept.", MODEL)
    ] = None,
    injection: Annotated[
        str | None, option("injection", "kv|residual", "How memory enters the decoder.", MODEL)
    ] = None,
    placement: Annotated[
        str | None,
        option(
            "placement",
            "focused|staggered|last",
            "What a slot keeps: a few layers of all its tokens, or every layer of some.",
            MODEL,
            "focused for kv, last for residual",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        option(
            "layers",
            "N,N,…",
            "For focused placement: all layers, the one that reads memory most first.",
            MODEL,
            "measured on the base",
        ),
    ] = None,
    window: Annotated[int | None, option("window", "TOKENS", "Longest window.", MODEL)] = None,
    encoder_rank: Annotated[int | None, option("encoder_rank", "N", "Rank of the encoder's adapter.", MODEL)] = None,
    decoder_rank: Annotated[int | None, option("decoder_rank", "N", "Rank of the decoder's adapter.", MODEL)] = None,
    projection_rank: Annotated[int | None, option("projection_rank", "N", "Rank of the projections.", MODEL)] = None,
    own: Annotated[
        list[Path] | None,
        option(
            "own",
            "PATH",
            'JSONL file of {"text", "questions": [{"q", "answers"}]} or folder of documents; may be '
            "repeated. Without --share, training uses only these.",
            DATA,
        ),
    ] = None,
    share: Annotated[
        list[str] | None,
        option(
            "share",
            "TASK=SHARE",
            "Share of facts, real, repeat, continue or own, in all stages.",
            DATA,
            "each stage its own",
        ),
    ] = None,
    ratio: Annotated[
        list[str] | None,
        option(
            "ratio",
            "RATIO=SHARE",
            "Compression ratio and how often it is drawn; 0 is uncompressed text.",
            DATA,
            "0=.1 1=.15 2=.1 4=.4 8=.25",
        ),
    ] = None,
    stage: Annotated[
        list[str] | None,
        option(
            "stage",
            "STAGE=SHARE",
            "A (reconstruction), B (questions) and C (encoder frozen, many windows), in order.",
            DATA,
            "A=.15 B=.75 C=.1",
        ),
    ] = None,
    batch: Annotated[int | None, option("batch", "TEXTS", "Texts per batch.", DATA)] = None,
    max_windows: Annotated[int | None, option("max_windows", "N", "Maximum number of windows in memory.", DATA)] = None,
    distractors: Annotated[
        float | None, option("distractors", "SHARE", "How often memory contains other texts as well.", DATA)
    ] = None,
    hard: Annotated[
        float | None, option("hard", "SHARE", "How often a batch brings hard distractors, of the same kind.", DATA)
    ] = None,
    absent: Annotated[
        float | None, option("absent", "SHARE", "Of texts with distractors, those whose own memory is left out.", DATA)
    ] = None,
    clear: Annotated[
        float | None, option("clear", "SHARE", "How often a window is read as text beside the memory.", DATA)
    ] = None,
    target_tokens: Annotated[
        int | None, option("target_tokens", "N", "Maximum number of question and answer tokens per text.", DATA)
    ] = None,
    bank: Annotated[
        int | None, option("bank", "TEXTS", "Number of texts that stage C compresses beforehand.", DATA)
    ] = None,
    accumulate: Annotated[int | None, option("accumulate", "N", "Batches per step.", PACE)] = None,
    learning_rate: Annotated[
        float | None, option("learning_rate", "RATE", "Learning rate of the adapters.", PACE)
    ] = None,
    projection_rate: Annotated[
        float | None, option("projection_rate", "RATE", "Learning rate of the projections.", PACE)
    ] = None,
    warmup: Annotated[
        float | None, option("warmup", "SHARE", "Share of the run in which learning rates rise.", PACE)
    ] = None,
    weight_decay: Annotated[float | None, option("weight_decay", "RATE", "Weight decay of AdamW.", PACE)] = None,
    clip: Annotated[float | None, option("clip", "NORM", "Maximum norm of the gradient.", PACE)] = None,
    distil: Annotated[
        float | None,
        option("distil", "WEIGHT", "Weight of distillation from the same decoder reading the full text.", PACE),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="FILE", help="Write samples to a JSONL file instead of training.", show_default=False
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", metavar="N", min=1, help="How many samples to export.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Train a model.

    The data is composed documents, real text, or your own. Run the same command again to resume. On several GPUs, start
    it as `accelerate launch -m rcc_integrations.cli train …`.

    \b
    Examples:
      rcc train --output runs/first --minutes 60
      rcc train --output runs/mine --data questions.jsonl --data docs/ --minutes 30 --start runs/first/model
      rcc train --output runs/qwen --base Qwen/Qwen3-0.6B --window 256 --ratio 4=1 --steps 2000
      rcc train --output runs/published --injection residual --minutes 60
      rcc train --export samples.jsonl --samples 20000    # elsewhere: rcc train --data samples.jsonl …
    """  # noqa: D301
    given = {name: value for name, value in locals().items() if name in DEFAULTS and value is not None}
    with Output(as_json, "Interrupted. Run the same command again to continue from the last saved state.") as out:
        before = Settings.of(context, None)
        if before.base is not None and start is None:
            given.setdefault("base", before.base)
        if before.device is not None:
            given.setdefault("device", before.device)
        if layers is not None:
            given["layers"] = numbers("layers", layers)
        for name, values in (("shares", share), ("ratios", ratio), ("stages", stage)):
            if values:
                given[name] = shares(name.removesuffix("s"), values, whole=name == "ratios")
        if export is not None:
            export_samples(given, export, samples, out)
            return
        if output is None:
            raise ConfigError("Training needs a folder to write to: give --output FOLDER.")
        settings = TrainSettings(**given)
        from rcc_integrations.training import Trainer

        progress = Trainer(settings, lambda line: typer.echo(one_line(line), err=True)).run(resume=not fresh)
        _report(settings.output, progress, out, must_fall)


def _report(output: Path, progress: Progress, out: Output, must_fall: bool) -> None:
    from rcc_integrations.training.log import loss_change, read_log

    if must_fall:
        first, last = loss_change(output)
        if not last < 0.95 * first:
            raise TrainingError(
                f"The loss has not fallen: {first:.3f} in the run's first third, {last:.3f} in its last."
            )
        out.line(f"The loss fell from {first:.3f}, the mean of the run's first third, to {last:.3f} in its last.")
    checks = [entry["check"] for entry in read_log(output) if "check" in entry]
    if out.as_json:
        out.json({"model": str(output / "model"), **dataclasses.asdict(progress), "check": (checks or [None])[-1]})
    out.line(
        f"{counted(progress.step, 'step')} in {progress.seconds / 60:.1f} minutes, running mean of the loss "
        f"{progress.mean_loss:.3f}. Use the model with: rcc --model {output / 'model'} …"
    )
