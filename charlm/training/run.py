"""A run: trains, validates, logs, saves and ends on time; knows nothing of terminals.

A run directory holds `model.safetensors` (the best on validation), `last.safetensors` (what going
on needs) and `log.jsonl` (the config, then one object per report). Every rank of several goes the
same way: what decides, the time and signals, all of them hear at the same moments.
"""

import math
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from charlm import model_file
from charlm.amounts import counted
from charlm.corpus import Corpus
from charlm.errors import TrainingError
from charlm.network import Network
from charlm.ngram import Ngram
from charlm.score import Score
from charlm.training import checkpoint, directory, mixing, recovery
from charlm.training.interrupts import Interrupts, StoppedError
from charlm.training.keeping import Keeper
from charlm.training.memory import memory_needed
from charlm.training.peek import KEPT, peek
from charlm.training.plan import Plan
from charlm.training.recovery import DivergedError, MemoryLackError
from charlm.training.standing import Listener, Outcome, Standing
from charlm.training.trainer import Trainer
from charlm.training.validate import seconds_needed, validate

SAVE_EVERY_S = 30.0
REPEATS_S = 5.0  # in which what is told twice was meant once; less than torchrun waits for an end
VALIDATIONS = 10
LEAST_STEPS = 25  # between two validations: a short run is not worth ten of them
# Of a budget, validations before the last one may take this much, and the last this much.
VALIDATIONS_SHARE = 0.05
LAST_VALIDATION_SHARE = 0.25


class Run:
    """One run in its directory; `go` trains it to the end of its plan."""

    def __init__(
        self,
        out: Path,
        corpus: Corpus,
        trainer: Trainer,
        plan: Plan,
        standing: Standing,
        listener: Listener,
        started: float,
    ) -> None:
        self.out = out
        self.corpus = corpus
        self.trainer = trainer
        self.config = trainer.config
        self.network: Network = trainer.network
        self.plan = plan
        self.standing = standing
        self.listener = listener
        self.ranks = trainer.ranks
        self._keeper = Keeper(out, corpus, trainer, listener)
        self._elapsed_before = standing.elapsed_s
        self._started = started
        self._now_s = self._saved_s = standing.elapsed_s
        self._signal: int | None = None
        # torchrun passes signals on, and Slurm may have given them to every process before.
        repeats_s = REPEATS_S if self.ranks.job is not None else 0.0
        self._interrupts = Interrupts(listener.stopping, repeats_s)
        train = corpus.size("train")
        self._tokens_per_char = train.tokens / max(1, train.chars)
        self._validates = corpus.size("val").tokens > 0
        self._counts = self.config.ngram != 0
        # However short its time, a run makes an update, and so does one that was given more time.
        self.owes_update = trainer.steps == 0

    def go(self) -> Outcome:
        """Trains to the end, or until a signal or patience stops it, and saves."""
        with self._interrupts:
            self._agree()
            if self.trainer.steps == 0:
                self.save()  # from here on there is always something to go on with
            while (trouble := self._train()) is not None:
                self._recover(trouble)
            stopped = None if self.standing.finished else self._signal
            if stopped is not None and self.standing.best_nats_per_char is None:
                self._keeper.save_model(self.standing, self._elapsed(), None)
        self.ranks.parting = True
        return Outcome(self.trainer.steps, self.standing.kept_nats_per_char, stopped)

    def _train(self) -> TrainingError | None:
        """Trains and saves until the run ends or is stopped, or gives what stood in its way."""
        try:
            if self.plan.budget_s is not None and self._validates:
                self._probe()
            self._agree()
            if self.trainer.steps == 0:
                self.standing.begun_s = self._now_s
            self.plan.begun_s = self.standing.begun_s
            if self.standing.owes_validation:
                self._validate_and_save()
            while self._goes_on() and not self._signal and not self._impatient():
                self._update()
                self._agree()
                if self._due():
                    self._validate_and_save()
                elif self._now_s - self._saved_s > SAVE_EVERY_S:
                    self.save()
            if self._progress() >= 1 or self._impatient():
                self.validate()
                self.standing.finished = not self.standing.owes_validation and self._mix()
            self.save()
            self._agree()
        except (DivergedError, MemoryLackError) as error:
            return error
        return None

    def _recover(self, trouble: TrainingError) -> None:
        """Goes back to what was saved last. Raises `trouble` where that was done too often."""
        reached, saved = self.trainer.steps, self.out / directory.LAST_NAME
        checkpoint.seen(saved, self.ranks)
        self.standing, remedy = recovery.recovered(self.trainer, saved, trouble, self.standing)
        self.ranks.wait()  # until all have read what is about to be written anew
        steps = self.trainer.steps
        self.listener.say(f"{trouble} Going back from update {reached:,} to {steps:,}, {remedy}")
        entry = {"steps": steps, "recovered_from": reached, "remedy": remedy}
        self._keeper.log(entry, self.standing)
        self.save()

    def _validate_and_save(self) -> None:
        self.validate()
        self.save()
        self._agree()

    def validate(self) -> None:
        """Validates the weights, or their average, unless that was done, and keeps them if best.

        A signal ends it at once, and it is made anew when the run goes on.
        """
        standing, trainer = self.standing, self.trainer
        if standing.validated_steps == trainer.steps and trainer.steps:
            return
        if not self._validates:
            standing.validated_steps = trainer.steps
            self._keeper.save_model(standing, self._elapsed(), None)
            return
        self.corpus.check_unchanged()
        began = time.monotonic()
        score, nats_per_char, sample, stopped = None, 0.0, "", False
        if self.ranks.is_first:
            score = self._score()
            stopped, nats_per_char = score is None, score.nats_per_char if score else 0.0
            if score and math.isfinite(nats_per_char):
                sample = peek(self.network, self._keeper.weights(), self.corpus, self.config)
        took_s = time.monotonic() - began
        nats_per_char, took_s, stopped = self.ranks.from_first(nats_per_char, took_s, stopped)
        standing.owes_validation = bool(stopped)
        if stopped:
            return
        standing.validated_steps = trainer.steps
        standing.validated_progress = self._progress()
        self.plan.validation_s = took_s
        self._check(nats_per_char)
        best = standing.best_nats_per_char
        better = best is None or nats_per_char < best
        if better:
            standing.best_nats_per_char = nats_per_char
            standing.mixed_nats_per_char = None
            standing.best_steps = trainer.steps
            standing.stale_validations = 0
            self._keeper.save_model(standing, self._elapsed(), score)
        else:
            standing.stale_validations += 1
        # After the save: what did so well is what is kept, not the average that may begin now.
        trainer.average.validated(nats_per_char)
        if score is None:
            return
        entry = {
            "steps": trainer.steps,
            "val_bits_per_char": score.bits_per_char,
            "val_nats_per_char": score.nats_per_char,
            "val_bits_per_byte": score.bits_per_byte,
            "val_tokens": score.tokens,
            "val_unknown": score.unknown,
            "best": better,
            "elapsed_s": self._elapsed(),
            "sample": sample[:KEPT],
        }
        self._keeper.log(entry, standing)
        if self.config.peek:
            self.listener.say(sample[: self.config.peek])

    def _score(self) -> Score | None:
        """The score on the validation text; None where a signal came before it was read."""
        trainer = self.trainer
        with suppress(StoppedError), memory_needed(TrainingError, trainer.memory_advice):
            return validate(
                self.network,
                trainer.average.weights,
                self.corpus,
                share=self.standing.val_share,
                proceed=self._interrupts.check,
            )
        return None

    def _mix(self) -> bool:
        """Mixes counts into the best model; returns False where a signal came before that."""
        if not self._counts:
            return True
        nats_per_char, stopped = math.nan, False
        if self.ranks.is_first:
            found = self._mixed()
            stopped = found is None
            if found is not None:
                nats_per_char = found.nats_per_char
                self._keeper.save_mixed(found, self.standing, self._elapsed())
        nats_per_char, stopped = self.ranks.from_first(nats_per_char, stopped)
        if math.isfinite(nats_per_char):
            self.standing.mixed_nats_per_char = nats_per_char
        return not stopped

    @cached_property
    def _ngram(self) -> Ngram:
        """The counts, made when they are first wanted."""
        return mixing.counts_of(self.corpus, self.config)

    def _mixed(self) -> mixing.Mixed | None:
        """The best model with counts; None where a signal came before it was mixed."""
        share, proceed = self.standing.val_share, self._interrupts.check
        with suppress(StoppedError), memory_needed(TrainingError, self.trainer.memory_advice):
            best = model_file.load(self.out)
            return mixing.mixed(best, self._ngram, self.corpus, share=share, proceed=proceed)
        return None

    def save(self) -> None:
        """Writes `last.safetensors`, unless the weights have gone bad since the last report."""
        standing = self.standing
        standing.losses = [float(loss) for loss in standing.losses]
        self._check(sum(standing.losses))
        for weight in self.trainer.weights.values():
            self._check(float(weight.detach().sum()))
        standing.elapsed_s = self._elapsed()
        self._keeper.save(standing)
        self._saved_s = self._now_s

    def _update(self) -> None:
        standing, trainer = self.standing, self.trainer
        if self._progress() >= 1:
            self.listener.say(
                "the budget was over before there was an update, and is too short; one is made all"
                " the same. Give it longer with --budget, or say how many with --steps."
            )
        with memory_needed(MemoryLackError, trainer.memory_advice):
            loss, norm, share = trainer.step(self.plan.during(trainer.steps, self._now_s))
        if share > 0:  # by the clock a warm-up begins at rate 0, which teaches nothing
            self.owes_update = False
        standing.losses.append(loss)
        self.listener.update(self._progress(), trainer.tokens)
        if trainer.steps < standing.next_report:
            return
        # Reports thin out as a run grows: each tenth update at first, later each hundredth part.
        standing.next_report = trainer.steps + max(10, trainer.steps // 100)
        loss_nats = self._check_losses()
        standing.losses = []
        standing.lowest_loss_nats = min(loss_nats, standing.lowest_loss_nats or loss_nats)
        entry = {
            "steps": trainer.steps,
            "epochs": trainer.tokens / max(1, self.corpus.size("train").tokens),
            "loss_nats": loss_nats,
            "bits_per_char": loss_nats * self._tokens_per_char / math.log(2),
            "lr": share * trainer.peak_lr,
            "gradient_norm": float(norm),
            "chars": round(trainer.tokens / self._tokens_per_char),
            "elapsed_s": self._elapsed(),
        }
        self._keeper.log(entry, standing)

    def _check_losses(self) -> float:
        """The mean loss since the last report. Raises DivergedError where it has gone wild."""
        standing = self.standing
        loss_nats = sum(float(loss) for loss in standing.losses) / max(1, len(standing.losses))
        self._check(loss_nats)
        wild = recovery.exploded(loss_nats, standing.lowest_loss_nats, self.network.vocabulary)
        if wild and standing.recoveries < recovery.RECOVERIES:
            raise DivergedError(f"the loss rose to {loss_nats:.3g} nats.")
        return loss_nats

    def _check(self, loss_nats: float) -> None:
        """Raises TrainingError for what is not a number any more, before it is saved."""
        if math.isfinite(loss_nats):
            return
        kept = (
            f" The best model so far is in {self.out / model_file.MODEL_NAME}."
            if self.standing.best_nats_per_char is not None
            else ""
        )
        lr, clip = self.config.lr, self.config.clip
        clipped = f"or a lower --clip (it was {clip:g})" if clip else "or --clip 1 (it was off)"
        raise DivergedError(
            f"the loss or a weight is {loss_nats} after {counted(self.trainer.steps, 'update')}."
            f" Try a lower --lr (it was {lr:g}) {clipped}." + kept
        )

    def _due(self) -> bool:
        """Whether it is time for a validation before the last one."""
        steps, progress = self.trainer.steps, self._progress()
        if self.config.eval_every is not None:
            return steps % self.config.eval_every == 0 and progress < 1
        if self.plan.budget_s is None:
            every = max(LEAST_STEPS, -(-self.plan.updates // VALIDATIONS))
            return steps % every == 0 and progress < 1
        spare_s = VALIDATIONS_SHARE * self.plan.budget_s
        gap = 1 / (1 + min(VALIDATIONS, int(spare_s / max(self.plan.validation_s, 1e-3))))
        return progress - self.standing.validated_progress >= gap and progress < 1 - gap / 2

    def _probe(self) -> None:
        """Finds out what a validation takes, and shortens it where it would eat the budget."""
        whole_s = mixing_s = 0.0
        if self.ranks.is_first:
            whole_s = seconds_needed(self.network, self.trainer.weights, self.corpus)
            if self._counts:  # all is read once more then
                tokens = self.corpus.size("val").tokens
                mixing_s = whole_s + mixing.seconds_needed(self._ngram, tokens)
        whole_s, mixing_s = self.ranks.from_first(whole_s, mixing_s)
        if self.trainer.steps == 0:
            allowed_s = LAST_VALIDATION_SHARE * self.plan.budget_s
            self.standing.val_share = min(1.0, allowed_s / max(whole_s + mixing_s, 1e-9))
            if self.standing.val_share < 1:
                self.listener.say(
                    f"validating on the first {self.standing.val_share:.0%} of the split:"
                    " all of it would take too much of the budget"
                )
        self.plan.validation_s = whole_s * self.standing.val_share
        self.plan.mixing_s = mixing_s * self.standing.val_share

    def _agree(self) -> None:
        """Takes note of the first rank's clock, and of a signal that any rank has had."""
        mine = self._elapsed() if self.ranks.is_first else 0.0
        self._now_s, number = self.ranks.highest(mine, self._interrupts.received or 0)
        self._signal = int(number) or None

    def _progress(self) -> float:
        return self.plan.progress(self.trainer.steps, self._now_s)

    def _goes_on(self) -> bool:
        """Whether the plan has another update."""
        owes = self.owes_update and not self.plan.over(self.trainer.steps)
        return self._progress() < 1 or owes

    def _elapsed(self) -> float:
        return self._elapsed_before + time.monotonic() - self._started

    def _impatient(self) -> bool:
        patience = self.config.patience
        return patience is not None and self.standing.stale_validations >= patience
