"""Two runs, one ledger: a run continues a released model within what its participants have left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from fedcrm.benchmark.run import public_facts
from fedcrm.engine.job import FederationNumbers, LocalParticipant, TrainingJob, TrainingOutcome
from fedcrm.engine.local import LocalEngine
from fedcrm.engine.site import open_site
from fedcrm.models.bundle import Bundle
from fedcrm.models.pairwise import PairwiseLearner
from fedcrm.models.scorecard import LogisticModel
from fedcrm.privacy.accountant import ZcdpAccountant
from fedcrm.privacy.budget import Budget
from fedcrm.privacy.entries import Charge
from fedcrm.protocol.digest import digest
from twins.job import NOW, silent
from twins.tables import invented_dataset

BUDGETS = {"org0": 8.0, "org1": 2.4, "org2": 2.0}
REFERENCE, DELTA = 2.0, 1e-6
DATASET = invented_dataset(3, 200, seed=6)


def _job(learner: PairwiseLearner, names: tuple[str, ...]) -> TrainingJob:
    budgets = {
        n: Budget(epsilon=BUDGETS[n], delta=DELTA, period_start=date(2026, 1, 1), period_days=365) for n in names
    }
    return TrainingJob(
        task="churn",
        learner=learner,
        facts=public_facts(DATASET),
        participants={name: LocalParticipant(table=DATASET.tables[name], budget=budgets[name]) for name in names},
        numbers=FederationNumbers(reference_epsilon=REFERENCE, reference_delta=DELTA),
    )


def _place(folder: Path, name: str) -> Path:
    return folder / "participants" / digest("participant", name).hex()[:32]


def _charges(folder: Path) -> Mapping[str, tuple[Charge, ...]]:
    found = {}
    for name in BUDGETS:
        site = open_site(_place(folder, name), name, now=NOW)
        site.vault.ledger.verify()
        found[name] = site.vault.ledger.charges()
        site.vault.close()
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainingOutcome, TrainingOutcome]:
    """A run, and one that continues its model with the same participants in another roster order."""
    folder, names = tmp_path_factory.mktemp("two runs"), tuple(BUDGETS)

    def train(run: str, learner: PairwiseLearner, order: tuple[str, ...]) -> TrainingOutcome:
        engine = LocalEngine(folder=folder / run, clock=lambda: NOW, participants=folder / "participants")
        return engine.train(_job(learner, order), observe=silent)

    with threadpool_limits(1):
        first = train("first", PairwiseLearner(gradients=2), names)
        model = LogisticModel.from_bundle(Bundle.from_bytes(first.model.to_bundle().to_bytes()))
        second = train("second", PairwiseLearner(gradients=2, prior=model), names[::-1])
    return folder, first, second


def test_one_ledger_composes_both_runs_within_the_budget(
    runs: tuple[Path, TrainingOutcome, TrainingOutcome],
) -> None:
    """Each participant's second statement covers the charges of both runs, more than the first and at most its ε."""
    folder, first, second = runs
    accountant = ZcdpAccountant()
    for name, charges in _charges(folder).items():
        assert len({charge.run for charge in charges}) == 2 and len(charges) == first.rounds + second.rounds
        spent = second.ledger[name].epsilon_spent
        assert first.ledger[name].epsilon_spent < spent <= BUDGETS[name]
        assert spent == pytest.approx(accountant.epsilon([charge.event for charge in charges], delta=DELTA))


def test_what_is_left_sets_the_weight_of_the_second_run(
    runs: tuple[Path, TrainingOutcome, TrainingOutcome],
) -> None:
    """Full weights (but for their grid) at first; then full only where the budget carries both, else what is left."""
    folder, first, second = runs
    costs = {name: [charge.rho for charge in charges] for name, charges in _charges(folder).items()}
    weights = {
        name: (sum(rho[first.rounds :]) / sum(costs["org0"][first.rounds :])) ** 0.5 for name, rho in costs.items()
    }
    assert all(rho[: first.rounds] == pytest.approx(costs["org0"][: first.rounds], rel=1e-3) for rho in costs.values())
    assert weights["org0"] == 1.0 > weights["org1"] > weights["org2"] > 0.0
    told = {name: " ".join(second.findings[name]) for name in BUDGETS}
    assert "carries the whole run at weight 1 " in told["org0"] and "only at weight" in told["org1"]


def test_a_participant_keeps_its_identity_and_folder_whatever_the_roster(
    runs: tuple[Path, TrainingOutcome, TrainingOutcome],
) -> None:
    """One folder a name, none in the runs' own folders; another engine over other folders knows nothing of them."""
    folder = runs[0]
    assert {place.name for place in (folder / "participants").iterdir()} == {_place(folder, n).name for n in BUDGETS}
    assert not (folder / "first" / "participants").exists() and not (folder / "second" / "participants").exists()
    manifests = [(folder / run / "manifest.toml").read_text() for run in ("first", "second")]
    site = open_site(_place(folder, "org1"), "org1", now=NOW)
    assert all(site.identity.public.hex() in text for text in manifests)
    site.vault.close()


def test_the_second_model_goes_on_from_the_first(runs: tuple[Path, TrainingOutcome, TrainingOutcome]) -> None:
    """Gradients alone, over the same columns and pairs; a fresh run would have asked for counts again."""
    _, first, second = runs
    assert (first.rounds, second.rounds) == (4, 2)
    assert isinstance(first.model, LogisticModel) and isinstance(second.model, LogisticModel)
    assert second.model.components == first.model.components
    assert not (second.model.mean == first.model.mean).all()
    assert replace(second.model, extras=first.model.extras).base != first.model.base
