"""Model cards of known truth, made from simulated trainings and evaluations, for the tests of the audit of any card.

Every number of a card comes from counts drawn here and is printed by Python's own formatting; nothing of the audit is used. A card is made
consistent first, in one of the ways in which people print such numbers. A planted contradiction then changes one number, further than any
rounding or cutting off can reach.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, exp, floor, sqrt


@dataclass
class Generated:
    """A card, and what is wrong with it."""

    text: str
    kind: str
    planted: bool
    relations: set[str] = field(default_factory=set)
    """Kinds of findings that may report the planted contradiction."""


def cut(x: float, places: int) -> str:
    """Decimals cut off instead of rounded."""
    return f"{floor(x * 10**places + 1e-9) / 10**places:.{places}f}"


# --- a training ---------------------------------------------------------------------------------------------------------


@dataclass
class Training:
    """A simulated run of the Trainer."""

    examples: int
    batch: int
    accumulation: int
    devices: int
    epochs: int
    every: int | None
    """Steps between evaluations; None for one an epoch."""
    test: int
    rows: list[tuple[float, int, float, float, float]] = field(default_factory=list)
    """Epoch, step, training loss, validation loss, accuracy."""
    final: int = -1
    """The row whose scores the card prints above the table."""

    @property
    def total(self) -> int:
        return self.batch * self.accumulation * self.devices


def simulated(rng: random.Random, every: bool | None = None) -> Training:
    """A training: batches an epoch are ceil(examples / (batch x devices)); an update needs `accumulation` of them, a rest is dropped."""
    t = Training(
        examples=rng.randint(800, 20_000),
        batch=rng.choice([4, 8, 16, 32]),
        accumulation=rng.choice([1, 1, 2, 4, 8]),
        devices=rng.choice([1, 1, 2, 4]),
        epochs=rng.randint(4, 12),
        every=None,
        test=rng.randint(300, 5000),
    )
    batches = ceil(t.examples / (t.batch * t.devices))
    updates = max(batches // t.accumulation, 1)
    if every or (every is None and rng.random() < 0.5):
        t.every = max(5, updates // rng.randint(2, 4))
    steps = [k * t.every for k in range(1, updates * t.epochs // t.every + 1)] if t.every else [updates * e for e in range(1, t.epochs + 1)]
    right = rng.randint(t.test // 3, t.test // 2)
    used: set[tuple[str, str]] = set()
    for step in steps[:60]:
        # Within an epoch the Trainer counts batches, so a dropped rest makes the epoch end short of a whole number.
        whole, rest = divmod(step, updates)
        epoch = whole - 1 + updates * t.accumulation / batches if not rest else whole + rest * t.accumulation / batches
        while True:
            right = min(t.test - 1, max(1, right + rng.randint(-t.test // 60, t.test // 25)))
            loss, accuracy = rng.uniform(0.2, 1.8), right / t.test
            if not {("l", f"{loss:.4f}"), ("a", f"{accuracy:.4f}")} & used:
                break
        used |= {("l", f"{loss:.4f}"), ("a", f"{accuracy:.4f}")}
        t.rows.append((epoch, step, rng.uniform(0.1, 2), loss, accuracy))
    return t


def settings(
    t: Training, total: int | None = None, evaluated: int | None = None, epochs: str | None = None, printed_devices: bool = True
) -> str:
    """The Trainer's list of hyperparameters."""
    lines = ["learning_rate: 5e-05", f"train_batch_size: {t.batch}", "eval_batch_size: 8", "seed: 42"]
    if t.devices > 1 and printed_devices:
        lines += ["distributed_type: multi-GPU", f"num_devices: {t.devices}"]
    if t.accumulation > 1:
        lines += [f"gradient_accumulation_steps: {t.accumulation}"]
    if t.accumulation > 1 or t.devices > 1 or total is not None:
        lines += [f"total_train_batch_size: {total or t.total}"]
    if t.devices > 1 and printed_devices:
        lines += [f"total_eval_batch_size: {evaluated or 8 * t.devices}"]
    lines += ["optimizer: Adam with betas=(0.9,0.999) and epsilon=1e-08", "lr_scheduler_type: linear", f"num_epochs: {epochs or t.epochs}"]
    return "### Training hyperparameters\n\nThe following hyperparameters were used during training:\n" + "".join(f"- {x}\n" for x in lines)


def results(t: Training, places: int = 2, swapped: int | None = None, steps: dict[int, int] | None = None, upto: int | None = None) -> str:
    """The Trainer's table; from row `swapped` on the two scores are under each other's heading."""
    lines = ["| Training Loss | Epoch | Step | Validation Loss | Accuracy |", "|:---:|:---:|:---:|:---:|:---:|"]
    for i, (epoch, step, loss, evaluated, accuracy) in enumerate(t.rows[:upto]):
        pair = [f"{round(evaluated, 4)}", f"{round(accuracy, 4)}"]
        if swapped is not None and i >= swapped:
            pair.reverse()
        lines.append(f"| {round(loss, 4)} | {round(epoch, places)} | {(steps or {}).get(i, step)} | {' | '.join(pair)} |")
    return "### Training results\n\n" + "\n".join(lines) + "\n"


def scores(t: Training, row: int = -1, loss: float | None = None, accuracy: str | None = None) -> str:
    """The scores above the table."""
    _, _, _, evaluated, right = t.rows[row]
    printed = accuracy or f"{right:.4f}"
    return f"It achieves the following results on the evaluation set:\n- Loss: {loss or evaluated:.4f}\n- Accuracy: {printed}\n\n"


def front(value: str | None = None, extra: str = "", task: str = "text-classification") -> str:
    """Front matter with one metric."""
    index = (
        f"model-index:\n- name: made-up\n  results:\n  - task:\n      type: {task}\n"
        f"    dataset:\n      name: made-up\n      type: made-up\n"
        f"    metrics:\n    - type: accuracy\n      value: {value}\n      name: Accuracy\n"
        if value
        else ""
    )
    return f"---\nlicense: mit\ntags:\n- generated_from_trainer\n{extra}{index}---\n\n# made-up\n\n"


def trainer_card(t: Training, **parts: str) -> str:
    """A whole card."""
    return (
        parts.get("front", front())
        + parts.get("scores", scores(t))
        + parts.get("settings", settings(t))
        + "\n"
        + parts.get("results", results(t))
    )


# --- an evaluation by class ----------------------------------------------------------------------------------------------


@dataclass
class Classes:
    """Counts of a simulated classifier: true positives, predicted and actual items of each class."""

    names: list[str]
    hits: list[int]
    predicted: list[int]
    actual: list[int]

    def precision(self, i: int) -> float:
        return self.hits[i] / self.predicted[i]

    def recall(self, i: int) -> float:
        return self.hits[i] / self.actual[i]

    def f1(self, i: int) -> float:
        return 2 * self.hits[i] / (self.predicted[i] + self.actual[i])


def classified(rng: random.Random, least: int = 3) -> Classes:
    """A confusion matrix drawn cell by cell."""
    k = rng.randint(least, 7)
    matrix = [[rng.randint(0, 40) + (rng.randint(60, 300) if i == j else 0) for j in range(k)] for i in range(k)]
    names = rng.sample(["apple", "pear", "plum", "fig", "quince", "medlar", "sloe", "cherry"], k)
    return Classes(names, [matrix[i][i] for i in range(k)], [sum(r[i] for r in matrix) for i in range(k)], [sum(r) for r in matrix])


def means(c: Classes) -> dict[str, list[float]]:
    """Macro and weighted means of precision, recall and F1."""
    rows = [[f(i) for f in (c.precision, c.recall, c.f1)] for i in range(len(c.names))]
    n = sum(c.actual)
    return {
        "macro avg": [sum(r[j] for r in rows) / len(rows) for j in range(3)],
        "weighted avg": [sum(w * r[j] for w, r in zip(c.actual, rows, strict=True)) / n for j in range(3)],
    }


def report(
    c: Classes,
    show: Callable[[float], str],
    averages: dict[str, list[float]] | None = None,
    total: int | None = None,
    changed: dict[int, str] | None = None,
    form: str = "table",
) -> str:
    """A classification report as a Markdown table, or as scikit-learn prints it."""
    averages = averages or means(c)
    n = total or sum(c.actual)
    rows = [
        [name, show(c.precision(i)), show(c.recall(i)), (changed or {}).get(i, show(c.f1(i))), str(c.actual[i])]
        for i, name in enumerate(c.names)
    ]
    rows.append(["accuracy", "", "", show(sum(c.hits) / sum(c.actual)), str(n)])
    rows += [[k, *map(show, v), str(n)] for k, v in averages.items()]
    if form == "text":
        lines = ["              precision    recall  f1-score   support", ""]
        lines += [f"{r[0]:>14}{r[1]:>11}{r[2]:>10}{r[3]:>10}{r[4]:>10}" for r in rows]
        return "## Report\n\n```\n" + "\n".join(lines) + "\n```\n"
    lines = ["| Class | Precision | Recall | F1-score | Support |", "|---|---|---|---|---|"]
    return "## Report\n\n" + "\n".join([*lines, *("| " + " | ".join(r) + " |" for r in rows)]) + "\n"


# --- other parts ---------------------------------------------------------------------------------------------------------


def board(rng: random.Random, rows: int = 5, tasks: int = 5) -> tuple[list[str], list[list[float]]]:
    """Scores of models on tasks, two decimals, as exact hundredths."""
    names = rng.sample(["ARC", "HellaSwag", "MMLU", "TruthfulQA", "Winogrande", "GSM8K", "BoolQ", "PIQA"], tasks)
    return names, [[rng.randint(2000, 9500) / 100 for _ in range(tasks)] for _ in range(rows)]


def board_table(names: list[str], rows: list[list[float]], average: list[str]) -> str:
    lines = ["| Model | " + " | ".join(names) + " | Average |", "|---" * (len(names) + 2) + "|"]
    lines += [
        f"| model {i} | " + " | ".join(f"{x:.2f}" for x in r) + f" | {a} |" for i, (r, a) in enumerate(zip(rows, average, strict=True))
    ]
    return "# Board\n\n" + "\n".join(lines) + "\n"


# --- planted contradictions ------------------------------------------------------------------------------------------------


def _batch(rng: random.Random, text: str = "total") -> str:
    while True:
        t = simulated(rng)
        wrong = t.total + rng.choice([1, 2, 4, 8, -1])
        alone = t.devices == 1
        if t.total > 4 and wrong > 0 and (wrong % (t.batch * t.accumulation) or not alone) and (t.accumulation > 1 or t.devices > 1):
            return trainer_card(t, settings=settings(t, total=wrong))


def _eval_batch(rng: random.Random) -> str:
    while True:
        t = simulated(rng)
        if t.devices > 1:
            return trainer_card(t, settings=settings(t, evaluated=8 * t.devices + rng.choice([8, 4, -4])))


def _epochs(rng: random.Random) -> str:
    while True:
        t = simulated(rng)
        if t.rows and t.rows[-1][0] > t.epochs * 0.8:
            return trainer_card(t, settings=settings(t, epochs=str(max(1, t.epochs // 2))))


def _step(rng: random.Random) -> str:
    while True:
        t = simulated(rng)
        if len(t.rows) >= 6:
            i = rng.randrange(1, len(t.rows) - 1)
            gap = t.rows[1][1] - t.rows[0][1]
            # Less than half a step between rows, so the order stays, and more than a printed epoch can hide.
            wrong = t.rows[i][1] + max(2, round(gap * rng.uniform(0.25, 0.45)))
            if (wrong - t.rows[i][1]) / (t.rows[0][1] / max(t.rows[0][0], 1e-9)) > 0.06:
                return trainer_card(t, results=results(t, 4, steps={i: wrong}))


def _score(rng: random.Random) -> str:
    while True:
        t = simulated(rng, every=False)
        accuracy = t.rows[-1][4] + rng.choice([-1, 1]) * rng.uniform(0.02, 0.08)
        if 0 < accuracy < 1 and all(abs(accuracy - r[4]) > 0.001 for r in t.rows):
            return trainer_card(t, scores=scores(t, accuracy=f"{accuracy:.4f}"))


def _loss(rng: random.Random) -> str:
    while True:
        t = simulated(rng, every=False)
        loss = t.rows[-1][3] * rng.choice([0.8, 0.9, 1.1, 1.25])
        if all(abs(loss - r[3]) > 0.001 for r in t.rows):
            return trainer_card(t, scores=scores(t, loss=loss))


def _shifted(rng: random.Random) -> str:
    while True:
        t = simulated(rng, every=False)
        if len(t.rows) >= 5 and f"{t.rows[-1][3]:.4f}" != f"{t.rows[-1][4]:.4f}":
            return trainer_card(t, results=results(t, swapped=len(t.rows) - 2))


def _front(rng: random.Random) -> str:
    while True:
        t = simulated(rng)
        right = t.rows[-1][4]
        wrong = right + rng.choice([-1, 1]) * rng.uniform(0.02, 0.08)
        if 0 < wrong < 1 and all(abs(wrong - x) > 0.002 for r in t.rows for x in (r[2], r[3], r[4], r[3] / 100, r[2] / 100)):
            return trainer_card(t, front=front(f"{wrong:.10f}"))


def _class_f1(rng: random.Random) -> str:
    c = classified(rng, 5)
    i = rng.randrange(len(c.names))
    wrong = c.f1(i) + rng.choice([-1, 1]) * rng.uniform(0.05, 0.1)
    return "# r\n\n" + report(c, lambda x: f"{x:.3f}", changed={i: f"{wrong:.3f}"}, averages={"macro avg": means(c)["macro avg"]})


def _average_of_report(rng: random.Random, kind: str) -> str:
    c = classified(rng)
    m = means(c)
    j = rng.randrange(3)
    # Further than a macro F1 that is the harmonic mean of two means.
    m[kind][j] += rng.choice([-1, 1]) * rng.uniform(0.04, 0.08)
    form = rng.choice(["table", "text"])
    return "# r\n\n" + report(c, lambda x: f"{x:.{rng.choice([3]) if form == 'table' else 2}f}", averages=m, form=form)


def _supports(rng: random.Random) -> str:
    c = classified(rng)
    return "# r\n\n" + report(c, lambda x: f"{x:.2f}", total=sum(c.actual) - rng.randint(1, 40))


def _average_column(rng: random.Random) -> str:
    names, rows = board(rng)
    average = [f"{sum(r) / len(r):.2f}" for r in rows]
    i = rng.randrange(len(rows))
    average[i] = f"{float(average[i]) + rng.choice([-1, 1]) * rng.uniform(0.1, 2):.2f}"
    return board_table(names, rows, average)


def _average_row(rng: random.Random) -> str:
    names, rows = board(rng, 1, 6)
    wrong = sum(rows[0]) / 6 + rng.choice([-1, 1]) * rng.uniform(0.1, 2)
    return (
        "# Board\n\n| Metric | Value |\n|---|---|\n"
        + f"| Avg. | {wrong:.2f} |\n"
        + "".join(f"| {n} (5-shot) | {x:.2f} |\n" for n, x in zip(names, rows[0], strict=True))
    )


def gains(rng: random.Random, unit: str = " pts") -> list[list[str]]:
    """Rows of before, after and change, in tenths of a per cent."""
    rows = []
    for i in range(5):
        a = rng.randint(300, 700)
        b = a + rng.randint(20, 250)
        rows.append([f"task {i}", f"{a / 10:.1f}%", f"{b / 10:.1f}%", f"+{(b - a) / 10:.1f}{unit}"])
    return rows


def gain_table(rows: list[list[str]]) -> str:
    return "# Gains\n\n| Task | Base | Tuned | Improvement |\n|---|---|---|---|\n" + "".join("| " + " | ".join(r) + " |\n" for r in rows)


def _gain(rng: random.Random) -> str:
    rows = gains(rng)
    i = rng.randrange(5)
    rows[i][3] = f"+{float(rows[i][3][1:-4]) + rng.choice([-1, 1]) * rng.uniform(0.4, 1.5):.1f} pts"
    return gain_table(rows)


def _prose_gain(rng: random.Random) -> str:
    a = rng.randint(300, 600)
    b = a + rng.randint(50, 200)
    wrong = (b - a) / 10 + rng.choice([-1, 1]) * rng.uniform(0.4, 2)
    return f"# Gain\n\nTuning raises accuracy from {a / 10:.1f}% to {b / 10:.1f}% (+{wrong:.1f} points) on our data.\n"


def _counted(rng: random.Random) -> str:
    n = rng.randint(40, 400)
    k = rng.randint(1, n - 1)
    wrong = k / n + rng.choice([-1, 1]) * rng.uniform(0.01, 0.05)
    wrong = min(max(wrong, 0.003), 0.999)
    if abs(wrong - k / n) < 0.008:
        wrong = k / n + 0.02 if k / n < 0.5 else k / n - 0.02
    form = rng.choice(["{p:.3f} ({k}/{n})", "{k}/{n} ({q:.1f}%)", "{k} of {n} ({q:.1f}%)", "{q:.1f}% ({k}/{n})"])
    return "# Count\n\nThe tuned model answers right in " + form.format(p=wrong, q=100 * wrong, k=k, n=n) + " of all trials.\n"


def small_share(rng: random.Random, n: int) -> str:
    """A percentage with one decimal that no k of n prints as, rounded or cut off."""
    while True:
        p = rng.randint(1, 999)
        if all(f"{1000 * k / n:.0f}" != str(p) and floor(1000 * k / n) != p and ceil(1000 * k / n - 0.5) != p for k in range(n + 1)):
            return f"{p / 10:.1f}%"


def _support(rng: random.Random) -> str:
    sizes = [rng.randint(11, 60) for _ in range(6)]
    shares = [f"{100 * rng.randint(1, n) / n:.1f}%" for n in sizes]
    i = rng.randrange(6)
    shares[i] = small_share(rng, sizes[i])
    rows = "".join(f"| head {j} | {p} | {n} |\n" for j, (p, n) in enumerate(zip(shares, sizes, strict=True)))
    return "# Heads\n\n| Head | Accuracy | Support |\n|---|---|---|\n" + rows


def _heading(rng: random.Random) -> str:
    n = rng.randint(12, 60)
    shares = [f"{100 * rng.randint(1, n) / n:.1f}%" for _ in range(5)]
    shares[rng.randrange(5)] = small_share(rng, n)
    rows = "".join(f"| way {j} | {p} |\n" for j, p in enumerate(shares))
    return f"# m\n\n## Evaluation ({n} test cases)\n\n| Strategy | Result |\n|---|---|\n{rows}"


def _on_n(rng: random.Random) -> str:
    n = rng.randint(12, 80)
    return f"# m\n\nIt reaches {small_share(rng, n)} on {n} test questions.\n"


def adapter(rng: random.Random) -> tuple[int, int]:
    """Trainable parameters and all parameters."""
    trainable = rng.randint(10**6, 2 * 10**8)
    return trainable, trainable + rng.randint(10**9, 10**10)


def _peft(rng: random.Random) -> str:
    a, b = adapter(rng)
    wrong = 100 * a / b * rng.choice([0.9, 1.05, 1.2])
    return f"# m\n\n```\ntrainable params: {a:,} || all params: {b:,} || trainable%: {wrong:.4f}\n```\n"


def parameter_list(base: int, trainable: int, total: int, share: str) -> str:
    return (
        f"# m\n\n- Base model parameters: {base:,}\n- Trainable LoRA parameters: {trainable:,} ({share})\n- Total parameters: {total:,}\n"
    )


def _parameters(rng: random.Random) -> str:
    a, b = adapter(rng)
    return parameter_list(b - a, a, b + rng.choice([-1, 1]) * rng.randint(1, 10**6), f"{100 * a / b:.2f}%")


def _total(rng: random.Random) -> str:
    parts = [rng.randint(20, 4000) for _ in range(5)]
    wrong = sum(parts) + rng.choice([-1, 1]) * rng.randint(1, 20)
    return (
        "# d\n\n| Data | Count |\n|---|---|\n"
        + "".join(f"| part {i} | {n:,} |\n" for i, n in enumerate(parts))
        + f"| **Total** | **{wrong:,}** |\n"
    )


def _sum(rng: random.Random) -> str:
    a, b = rng.randint(200, 3000), rng.randint(200, 3000)
    return f"# d\n\nTrained on {a + b + rng.choice([-3, -1, 2, 5]):,} triplets ({a:,} own + {b:,} mined) in all.\n"


def _rmse(rng: random.Random) -> str:
    mse = rng.uniform(0.05, 3)
    return f"# m\n\nResults on the evaluation set:\n- Mse: {mse:.4f}\n- Rmse: {sqrt(mse) * rng.choice([0.9, 1.1]):.4f}\n"


def _perplexity(rng: random.Random) -> str:
    loss = rng.uniform(1, 4)
    return f"# m\n\nResults on the evaluation set:\n- Loss: {loss:.4f}\n- Perplexity: {exp(loss) * rng.choice([0.9, 1.1]):.2f}\n"


def _balanced(rng: random.Random) -> str:
    r, s = rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.9)
    wrong = 1 - (r + s) / 2 + rng.choice([-1, 1]) * rng.uniform(0.01, 0.05)
    return f"# m\n\n| Metric | Ours |\n|---|---|\n| Recall | {r:.3f} |\n| Specificity | {s:.3f} |\n| Balanced error | {wrong:.3f} |\n"


def harness(rng: random.Random, tasks: int = 4, wrong: bool = False) -> str:
    """lm-eval's table; each task's two metrics are over the same items."""
    lines = ["|Task|Version|Metric|Value| |Stderr|", "|---|---:|---|---:|---|---:|"]
    broken = rng.randrange(tasks) if wrong else -1
    for t in range(tasks):
        n = rng.randint(200, 3000)
        for m in ("acc", "acc_norm"):
            p = rng.randint(n // 4, 3 * n // 4) / n
            size = n * rng.choice([3, 4]) if t == broken and m == "acc_norm" else n
            lines.append(
                f"|{f'task_{t}' if m == 'acc' else ''}|{0 if m == 'acc' else ''}|{m}|{p:.4f}|±|{sqrt(p * (1 - p) / (size - 1)):.4f}|"
            )
    return "# m\n\n```\n" + "\n".join(lines) + "\n```\n"


def _range(rng: random.Random) -> str:
    t = simulated(rng)
    return trainer_card(t, scores=scores(t), front=front(f"{rng.uniform(101, 400):.2f}"))


def autotrain(rng: random.Random, wrong: bool = False) -> str:
    """AutoTrain's scores of a classifier with one label per item."""
    c = classified(rng)
    m = means(c)
    accuracy = sum(c.hits) / sum(c.actual)
    micro = accuracy + (rng.choice([-1, 1]) * rng.uniform(0.02, 0.06) if wrong else 0)
    names = [("Accuracy", accuracy), ("Macro F1", m["macro avg"][2]), ("Micro F1", micro), ("Weighted F1", m["weighted avg"][2])]
    names += [("Macro Precision", m["macro avg"][0]), ("Micro Precision", accuracy), ("Weighted Precision", m["weighted avg"][0])]
    names += [("Macro Recall", m["macro avg"][1]), ("Micro Recall", accuracy), ("Weighted Recall", m["weighted avg"][1])]
    return "# m\n\n## Validation Metrics\n\n- Loss: 0.556\n" + "".join(f"- {n}: {v:.3f}\n" for n, v in names)


def phases(rng: random.Random, off: int = 0) -> str:
    steps = [rng.randint(300, 9000) for _ in range(3)]
    rows = "".join(f"| **Phase {i}** | set {i} | 2 epochs ({n:,} steps) |\n" for i, n in enumerate(steps, 1))
    stated = f"Over all phases the run took **{sum(steps) + off:,} cumulative optimization steps**."
    return f"# m\n\n| Phase | Data | Epochs |\n|---|---|---|\n{rows}\n{stated}\n"


def tagger(rng: random.Random, off: float = 0.0) -> str:
    """A tagger's scores over entities."""
    hits, predicted, actual = rng.randint(300, 600), rng.randint(650, 900), rng.randint(900, 1300)
    p, r, f = hits / predicted, hits / actual, 2 * hits / (predicted + actual)
    head = "---\ntags:\n- token-classification\n---\n\n# tagger\n\nResults on the evaluation set:\n"
    return head + f"- Precision: {p:.4f}\n- Recall: {r:.4f}\n- F1: {f + off:.4f}\n- Accuracy: 0.9731\n"


def recipe(rng: random.Random, wrong: bool = False) -> str:
    """A recipe as people write it."""
    e, b, p = rng.randint(200, 5000), rng.choice([8, 16, 32]), rng.randint(1, 4)
    steps = rng.choice([ceil(e / b) * p, (e // b) * p, ceil(e * p / b)])
    if wrong:
        steps = ceil(e / b) * p + rng.randint(2, 40)
    passes = "- epochs: 1 (one complete pass)\n" if p == 1 else f"- epochs: {p}\n"
    return f"# m\n\n## Training\n\n- training examples: {e:,}\n- effective batch size: {b}\n{passes}- optimizer steps: {steps:,}\n"


def arms(rng: random.Random, wrong: bool = False) -> str:
    """Two pass rates over a stated number of tasks, and the improvement in points."""
    n = rng.randint(60, 900)
    a = rng.randint(5, n // 2)
    b = rng.randint(a + 5, n - 1)
    gain = 100 * (b - a) / n + (rng.choice([-1, 1]) * rng.uniform(0.3, 3) if wrong else 0)
    head = f"# m\n\n## Results\n\nOver all tasks ({n} paired observations per arm):\n\n"
    return head + f"- baseline pass rate: {100 * a / n:.2f}%\n- adapter pass rate: {100 * b / n:.2f}%\n- improvement: {gain:+.2f} points\n"


def arrows(rng: random.Random, wrong: bool = False) -> str:
    """Gains written with an arrow."""
    a = rng.randint(50, 80)
    b = a + rng.randint(3, 15)
    change = b - a + (rng.choice([5, 8]) if wrong else 0)
    return f"# m\n\n- Recall of plums: 0.{a} → 0.{b} ({change:+d} pp), released from 2024-01-01 to 2024-06-30\n"


def _accuracy_row(rng: random.Random) -> str:
    c = classified(rng)
    text = report(c, lambda x: f"{x:.3f}")
    right = sum(c.hits) / sum(c.actual)
    return "# r\n\n" + text.replace(f"| accuracy |  |  | {right:.3f} |", f"| accuracy |  |  | {right - rng.uniform(0.03, 0.1):.3f} |")


CONTRADICTIONS: dict[str, tuple[Callable[[random.Random], str], set[str]]] = {
    "total batch": (_batch, {"batch"}),
    "total evaluation batch": (_eval_batch, {"batch"}),
    "epochs beyond the settings": (_epochs, {"end_of_training"}),
    "a row's step": (_step, {"steps_per_epoch"}),
    "final accuracy in no row": (_score, {"summary_and_table"}),
    "final loss in no row": (_loss, {"summary_and_table"}),
    "columns shifted": (_shifted, {"summary_and_table"}),
    "front matter against text": (_front, {"front_matter_and_text"}),
    "F1 of a class": (_class_f1, {"f1"}),
    "macro average": (lambda r: _average_of_report(r, "macro avg"), {"report_averages"}),
    "weighted average": (lambda r: _average_of_report(r, "weighted avg"), {"report_averages"}),
    "supports": (_supports, {"report_supports"}),
    "average column": (_average_column, {"average"}),
    "average row": (_average_row, {"average"}),
    "gain in a table": (_gain, {"difference"}),
    "gain in a sentence": (_prose_gain, {"difference"}),
    "share beside its count": (_counted, {"count_and_share"}),
    "share of a row's cases": (_support, {"share_of_n"}),
    "share of a heading's cases": (_heading, {"share_of_n"}),
    "share of a sentence's cases": (_on_n, {"share_of_n"}),
    "peft's line": (_peft, {"parameters"}),
    "base and trainable": (_parameters, {"parameters"}),
    "total row": (_total, {"total"}),
    "sum in a sentence": (_sum, {"total"}),
    "RMSE of MSE": (_rmse, {"rmse"}),
    "perplexity of loss": (_perplexity, {"perplexity"}),
    "balanced error": (_balanced, {"balanced_error"}),
    "standard errors": (lambda r: harness(r, wrong=True), {"standard_error"}),
    "share above 1": (_range, {"range"}),
    "micro averages": (lambda r: autotrain(r, wrong=True), {"single_label_averages"}),
    "steps of phases": (lambda r: phases(r, r.choice([-7, -1, 1, 12])), {"total_steps"}),
    "steps of a recipe": (lambda r: recipe(r, wrong=True), {"optimizer_steps"}),
    "gain in a list": (lambda r: arms(r, wrong=True), {"difference"}),
    "gain with an arrow": (lambda r: arrows(r, wrong=True), {"difference"}),
    "accuracy in a report": (_accuracy_row, {"report_averages"}),
    "F1 of a tagger": (lambda r: tagger(r, r.choice([-1, 1]) * r.uniform(0.01, 0.04)), {"f1"}),
}


# --- consistent in a reading -----------------------------------------------------------------------------------------------


def _plain(rng: random.Random) -> str:
    return trainer_card(simulated(rng))


def _percent(rng: random.Random) -> str:
    t = simulated(rng)
    return trainer_card(t, front=front(f"{100 * t.rows[-1][4]:.2f}"))


def _float(rng: random.Random) -> str:
    t = simulated(rng)
    return trainer_card(t, front=front(repr(t.rows[-1][4])))


def _best(rng: random.Random) -> str:
    t = simulated(rng)
    best = max(range(len(t.rows)), key=lambda i: t.rows[i][4])
    return trainer_card(t, scores=scores(t, best), front=front(repr(t.rows[best][4])))


def _stops(rng: random.Random) -> str:
    while True:
        t = simulated(rng, every=True)
        if 5 <= len(t.rows) < 55 and t.rows[-1][0] < t.epochs - 0.05:
            last = t.rows[-1]
            t.rows.append((float(t.epochs), last[1] + 3, 0.1, rng.uniform(0.2, 1.8), rng.uniform(0.5, 0.9)))
            return trainer_card(t, results=results(t, upto=len(t.rows) - 1))


def _masked(rng: random.Random) -> str:
    t = simulated(rng, every=False)
    lines = ["| Training Loss | Epoch | Step | Validation Loss |", "|---|---|---|---|"]
    lines += [f"| {r[2]:.4f} | {float(i + 1)} | {r[1]} | {r[3]:.4f} |" for i, r in enumerate(t.rows)]
    head = (
        front(extra="- fill-mask\n") + f"Fine-tuned from bert-base. Results on the evaluation set:\n- Loss: {t.rows[-1][3] * 1.01:.4f}\n\n"
    )
    return head + settings(t) + "\n### Training results\n\n" + "\n".join(lines) + "\n"


def _replicas(rng: random.Random) -> str:
    t = simulated(rng)
    return (
        front(extra="- optimum_graphcore\n")
        + "Trained on an IPU-POD16.\n\n"
        + settings(t, total=t.total * 16, printed_devices=False).replace(
            f"train_batch_size: {t.batch}\neval", f"train_batch_size: {t.batch * t.devices}\neval"
        )
    )


def _cut_report(rng: random.Random) -> str:
    c = classified(rng)
    return "# r\n\n" + report(c, lambda x: cut(x, 3))


def _percent_report(rng: random.Random) -> str:
    c = classified(rng)
    return "# r\n\n" + report(c, lambda x: f"{100 * x:.1f}%")


def _text_report(rng: random.Random) -> str:
    c = classified(rng)
    return "# r\n\n" + report(c, lambda x: f"{x:.2f}", form="text")


def _macro_summary(rng: random.Random) -> str:
    m = means(classified(rng))["macro avg"]
    return "# m\n\nResults on the evaluation set:\n" + "".join(
        f"- {n}: {v:.4f}\n" for n, v in zip(("Precision", "Recall", "F1"), m, strict=True)
    )


def _macro_models(rng: random.Random) -> str:
    rows = "".join(f"| model {i} | {p:.3f} | {r:.3f} | {f:.3f} |\n" for i in range(4) for p, r, f in [means(classified(rng))["macro avg"]])
    return "# m\n\n| Model | Precision | Recall | F1 |\n|---|---|---|---|\n" + rows


def _missing_class(rng: random.Random) -> str:
    c = classified(rng, 4)
    text = report(c, lambda x: f"{x:.2f}")
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"| {c.names[0]} "))
    return "# r\n\n" + "\n".join(lines[:at] + lines[at + 1 :]) + "\n"


def _average_subset(rng: random.Random) -> str:
    names, rows = board(rng, 4, 6)
    return board_table(names, rows, [f"{sum(r[:4]) / 4:.2f}" for r in rows])


def _average_plain(rng: random.Random) -> str:
    names, rows = board(rng)
    show = rng.choice([lambda x: f"{x:.2f}", lambda x: f"{x:.1f}", lambda x: cut(x, 2)])
    return board_table(names, rows, [show(sum(r) / len(r)) for r in rows])


def _two_averages(rng: random.Random) -> str:
    names, rows = board(rng, 1, 7)
    r = rows[0]
    parts = []
    for k in (7, 6):
        parts.append(
            "\n## Board\n\n| Metric | Value |\n|---|---|\n"
            + f"| Avg. | {sum(r[:k]) / k:.2f} |\n"
            + "".join(f"| {n} | {x:.2f} |\n" for n, x in zip(names[:k], r, strict=False))
        )
    return "# m\n" + "".join(parts)


def _relative_gain(rng: random.Random) -> str:
    a = rng.randint(300, 600)
    b = a + rng.randint(50, 200)
    form = rng.choice(["(+{rel:.1f}%)", "(+{diff:.1f} points)", "(+{diff:.1f}%)", "(+{diff:.1f} pp)"])
    change = form.format(rel=100 * (b - a) / a, diff=(b - a) / 10)
    return f"# m\n\nTuning raises accuracy from {a / 10:.1f}% to {b / 10:.1f}% {change} on our data.\n"


def _error_reduction(rng: random.Random) -> str:
    rows = []
    for i in range(4):
        a, b = rng.randint(300, 500), rng.randint(150, 290)
        rows.append([f"set {i}", f"{a / 10:.1f}", f"{b / 10:.1f}", rng.choice([f"-{(a - b) / 10:.1f}", f"{(a - b) / 10:.1f}"])])
    return "# m\n\n| Set | WER base | WER tuned | Δ |\n|---|---|---|---|\n" + "".join("| " + " | ".join(r) + " |\n" for r in rows)


def _rounded_gain(rng: random.Random) -> str:
    """0.8974 - 0.8654 printed as +0.0321: each is rounded from counts of its own."""
    rows = []
    for i in range(4):
        n = rng.randint(100, 400)
        a, b = rng.randint(n // 3, n // 2), rng.randint(n // 2 + 1, n - 1)
        rows.append([f"set {i}", f"{a / n:.4f}", f"{b / n:.4f}", f"+{(b - a) / n:.4f}"])
    return "# m\n\n| Set | Base | Tuned | Gain |\n|---|---|---|---|\n" + "".join("| " + " | ".join(r) + " |\n" for r in rows)


def _counts_kept(rng: random.Random) -> str:
    n = rng.randint(40, 2000)
    k = rng.randint(1, n - 1)
    form = rng.choice(["{p:.3f} ({k:,}/{n:,})", "{k:,}/{n:,} ({q:.1f}%)", "{k:,} of {n:,} ({c}%)", "{q:.0f}% ({k:,}/{n:,})"])
    return "# m\n\nIt answers right in " + form.format(p=k / n, q=100 * k / n, c=cut(100 * k / n, 1), k=k, n=n) + " of all trials.\n"


def _precision_beside_support(rng: random.Random) -> str:
    c = classified(rng)
    rows = "".join(
        f"| {name} | {c.actual[i]:,} | {100 * c.recall(i):.1f}% | {100 * c.precision(i):.1f}% |\n" for i, name in enumerate(c.names)
    )
    n = sum(c.actual)
    overall = f"**Overall accuracy {100 * sum(c.hits) / n:.2f}% · mean F1 {100 * means(c)['macro avg'][2]:.1f}%**"
    head = f"# m\n\n## Results (test, {n:,} images)\n\n{overall}\n\n"
    return head + "| Class | Images | Recall | Precision |\n|---|---:|---:|---:|\n" + rows


def _share_of_base(rng: random.Random) -> str:
    a, b = adapter(rng)
    return f"# m\n\n- Base model parameters: {b - a:,}\n- Trainable parameters: {a / 1e6:.2f}M ({100 * a / (b - a):.2f}%)\n"


def _parameters_kept(rng: random.Random) -> str:
    a, b = adapter(rng)
    line = f"```\ntrainable params: {a:,} || all params: {b:,} || trainable%: {100 * a / b:.4f}\n```\n"
    return parameter_list(b - a, a, b, f"{100 * a / b:.2f}%") + "\n" + line


def _formulas_kept(rng: random.Random) -> str:
    loss = rng.uniform(0.5, 3)
    lines = [f"Loss: {loss:.4f}", f"Perplexity: {exp(loss):.2f}", f"Mse: {loss:.4f}", f"Rmse: {sqrt(loss):.4f}"]
    return "# m\n\nResults on the evaluation set:\n" + "".join(f"- {x}\n" for x in lines)


def _harness_average(rng: random.Random) -> str:
    text = harness(rng)
    values = [float(line.split("|")[4]) for line in text.splitlines() if "acc_norm" in line]
    return text.replace("|\n```", f"|\nAverage: {sum(values) / len(values):.4f}\n```")


def _totals_kept(rng: random.Random) -> str:
    parts = [rng.randint(20, 4000) for _ in range(4)]
    text = (
        "# d\n\n| Data | Count |\n|---|---|\n"
        + "".join(f"| part {i} | {n:,} |\n" for i, n in enumerate(parts))
        + f"| Total | {sum(parts):,} |\n"
    )
    return text + f"\nTrained on {parts[0] + parts[1]:,} triplets ({parts[0]:,} own + {parts[1]:,} mined).\n"


def _short_epochs(rng: random.Random) -> str:
    while True:
        t = simulated(rng, every=False)
        batches = ceil(t.examples / (t.batch * t.devices))
        if t.accumulation > 1 and batches % t.accumulation:
            return trainer_card(t, results=results(t, rng.choice([2, 4])))


def _cut_epochs(rng: random.Random) -> str:
    t = simulated(rng, every=True)
    text = results(t)
    for epoch, *_ in t.rows:
        text = text.replace(f"| {round(epoch, 2)} |", f"| {cut(epoch, 2)} |", 1)
    return trainer_card(t, results=text)


CONSISTENT: dict[str, Callable[[random.Random], str]] = {
    "the Trainer's own card": _plain,
    "front matter in per cent": _percent,
    "front matter as a full float": _float,
    "scores of the best row": _best,
    "a table that stops before the end": _stops,
    "a masked language model's loss": _masked,
    "replicas that are not printed": _replicas,
    "epochs that end short": _short_epochs,
    "epochs cut off": _cut_epochs,
    "report, cut off": _cut_report,
    "report in per cent": _percent_report,
    "report as text": _text_report,
    "report without one class": _missing_class,
    "macro F1 among final scores": _macro_summary,
    "macro F1 of models": _macro_models,
    "average over some columns": _average_subset,
    "average column, rounded or cut off": _average_plain,
    "two averages over different sets": _two_averages,
    "gain, relative or in points": _relative_gain,
    "falling error rates": _error_reduction,
    "gain rounded from counts": _rounded_gain,
    "counts with shares": _counts_kept,
    "precision beside supports": _precision_beside_support,
    "share of base or of all": _share_of_base,
    "parameters in three places": _parameters_kept,
    "formulas": _formulas_kept,
    "harness with its average": _harness_average,
    "totals": _totals_kept,
    "AutoTrain": autotrain,
    "phases": phases,
    "tagger": tagger,
    "recipe": recipe,
    "rates of two arms": arms,
    "arrows and dates": arrows,
}


def planted(each: int, seed: int = 17) -> list[Generated]:
    """`each` cards of every kind of contradiction."""
    return [
        Generated(make(random.Random(f"{seed} {kind} {i}")), kind, True, relations)
        for kind, (make, relations) in CONTRADICTIONS.items()
        for i in range(each)
    ]


def consistent(each: int, seed: int = 17) -> list[Generated]:
    """`each` cards of every consistent reading."""
    return [Generated(make(random.Random(f"{seed} {kind} {i}")), kind, False) for kind, make in CONSISTENT.items() for i in range(each)]
