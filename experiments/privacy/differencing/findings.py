"""What the campaign amounts to: figures, controls, the sentence for everybody."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from experiments.privacy.differencing.campaign import FEW, Campaign, Sizes
from experiments.privacy.differencing.controls import controls_of, is_exact
from experiments.privacy.differencing.plans import relative_error
from experiments.privacy.differencing.plot import Drawing, draw
from experiments.privacy.differencing.scenarios import (
    CLIENTS,
    FORGETFUL,
    TARGET,
    TWO_APART,
    Found,
    group_params,
    one_set_ever,
)
from experiments.privacy.differencing.sweeps import Guesses, mean_of_others
from experiments.privacy.experiment import Outcome
from experiments.privacy.numbers import Measure, measure
from experiments.privacy.sealed_round import make_params
from experiments.privacy.words.mails import CLIP, Mails

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ERROR: Final = "rel. error"
WORDS: Final = "AP of words"
_PLANS: Final = {
    "two sets": "two sets (default rules)",
    "min-set-change 2": "as many sets as min-set-change 2 allows",
    "one set": "one set",
}


def outcome(mails: Mails, sizes: Sizes, done: Campaign) -> Outcome:
    """Put everything together."""
    real = [_real(one, done) for one in done.found]
    drawing = Drawing(
        clients=sizes.clients,
        plans=_by_plan(done),
        real=[
            (CLIENTS, one.value)
            for one, found in zip(real, done.found, strict=True)
            if is_exact(found)
        ],
        distances=sizes.distances,
        drift=_by_drift(sizes, done),
        anew=_measure(
            f"{sizes.many} mails each, trained anew in another order",
            *done.anew,
            view="encrypted",
        ),
    )

    def plot() -> "Figure":
        return draw(drawing)

    return Outcome(
        measures=[
            *_other_views(done),
            *real,
            *(one for curve in drawing.plans.values() for one in curve),
            *_words(done),
            *_colluders(done),
            # What lies 0 rounds apart is the same model again, and above.
            *(one for curve in drawing.drift.values() for one in curve[1:]),
            *_drifted_words(sizes, done),
            drawing.anew,
            _word_measure(drawing.anew.name, *done.anew, view="encrypted"),
            *_many_rounds(done, sizes),
        ],
        controls=controls_of(sizes, done),
        conclusion=_conclusion(sizes, done),
        setup=_setup(mails, sizes, done),
        plot=plot,
        series={
            "clients": list(sizes.clients),
            "distances": list(sizes.distances),
            "plans": _as_dicts(drawing.plans),
            "drift": _as_dicts(drawing.drift),
        },
    )


def _as_dicts(
    curves: Mapping[str, Sequence[Measure]],
) -> dict[str, list[dict[str, Any]]]:
    return {name: [one.to_dict() for one in curve] for name, curve in curves.items()}


def _by_plan(done: Campaign) -> dict[str, list[Measure]]:
    return {
        plan: [
            _measure(f"n = {n}, {title}", plans[plan], plans["null"], view="encrypted")
            for n, plans in done.plans.items()
        ]
        for plan, title in _PLANS.items()
    }


def _by_drift(sizes: Sizes, done: Campaign) -> dict[str, list[Measure]]:
    return {
        one.name: [
            _measure(
                f"{one.name}, rounds apart: {distance}",
                guesses,
                one.null,
                view="encrypted",
            )
            for distance, guesses in zip(sizes.distances, one.guesses, strict=True)
        ]
        for one in done.drift
    }


def _measure(
    name: str, guesses: Guesses, null: Guesses, *, view: str, note: str = ""
) -> Measure:
    return measure(
        name, guesses.errors, view=view, metric=ERROR, null=null.errors, note=note
    )


def _word_measure(name: str, guesses: Guesses, null: Guesses, *, view: str) -> Measure:
    return measure(name, guesses.words, view=view, metric=WORDS, null=null.words)


def _real(found: Found, done: Campaign) -> Measure:
    """Return what real key holders let the server have of one victim."""
    truth, others = done.updates[TARGET], mean_of_others(done.updates)[TARGET]
    reasons = ", ".join(f"{name} x {n}" for name, n in sorted(found.refusals.items()))
    return measure(
        f"n = {CLIENTS}, real, {found.plan}; {found.rules.name}: "
        f"{found.opened} of {found.asked} opened",
        relative_error(found.guess, truth),
        view="encrypted",
        metric=ERROR,
        null=relative_error(others, truth),
        note=f"one victim of {CLIENTS}; refusals: {reasons or 'none'}",
    )


def _other_views(done: Campaign) -> list[Measure]:
    """Return what an update in the clear gives, and what colluders see."""
    plans = done.plans[max(done.plans)]
    return [
        _measure("one update", plans["plain"], plans["null"], view="plain"),
        _word_measure("one update", plans["plain"], plans["null"], view="plain"),
        measure(
            "one upload, opened by server and committee",
            relative_error(done.collusion, done.updates[TARGET]),
            view="collusion",
            metric=ERROR,
            null=relative_error(
                mean_of_others(done.updates)[TARGET], done.updates[TARGET]
            ),
        ),
    ]


def _words(done: Campaign) -> list[Measure]:
    """Return how well the words of the victim's mails are found."""
    n = max(done.plans)
    found, null = done.plans[n], done.plans[n]["null"]
    return [
        _word_measure(f"n = {n}, {title}", found[plan], null, view="key holder")
        for plan, title in _PLANS.items()
    ]


def _drifted_words(sizes: Sizes, done: Campaign) -> list[Measure]:
    """Return how well words are found where the sums are a round apart."""
    place = sizes.distances.index(1)
    return [
        _word_measure(
            f"{one.name}, rounds apart: 1",
            one.guesses[place],
            one.null,
            view="encrypted",
        )
        for one in done.drift
    ]


def _colluders(done: Campaign) -> list[Measure]:
    params, null = make_params(CLIENTS), done.plans[min(done.plans)]["null"]
    return [
        _measure(
            f"{params.min_contributors} clients, {count} of them the server's",
            guesses,
            null,
            view="encrypted",
            note="the platform counts on at most max-corrupt, and k_min is above it",
        )
        for count, guesses in done.colluders.items()
    ]


def _many_rounds(done: Campaign, sizes: Sizes) -> list[Measure]:
    found = []
    for one in done.matrix:
        name = f"{one.name}: {one.opened} of {sizes.matrix[1]} rounds"
        found.append(_measure(name, one.guesses, one.null, view="encrypted"))
        found.append(_word_measure(name, one.guesses, one.null, view="encrypted"))
    return found


def _setup(mails: Mails, sizes: Sizes, done: Campaign) -> dict[str, object]:
    params = group_params(key_bits=sizes.key_bits)
    return {
        "mails": mails.source,
        "words": mails.num_words,
        "clip": CLIP,
        "mails of a client": f"{FEW}, one step on all of them; where the model moves "
        f"also {sizes.many}",
        "same model": "the server sends it again; updates repeat exactly, as one step "
        "on all mails does not depend on the order",
        "real group": f"{params.max_contributors} clients, "
        f"{params.threshold} of {params.num_holders} key holders open "
        f"{params.min_contributors} to {params.max_contributors} updates, "
        f"{params.key_bits} bits",
        "rules": {
            FORGETFUL.name: "key holders forget what they opened",
            "default": "one set a round, any set in another round",
            TWO_APART.name: "sets of a run differ by two clients or none",
            one_set_ever(params).name: "larger than any two sets that are large enough "
            "can differ by: one set for the whole run",
        },
        "participation": f"{sizes.matrix[0]} clients, {sizes.matrix[1]} rounds, each "
        "client in 80 % of them; 2,048 bits, as the rule sees sets and not values",
        "clients told by all sums": {one.name: one.told for one in done.matrix},
        "null": "the mean update of all others, known exactly",
        "refusals": [
            {
                "plan": one.plan,
                "rules": one.rules.name,
                "opened": one.opened,
                "asked": one.asked,
                "refusals": dict(one.refusals),
            }
            for one in done.found
        ],
    }


def _conclusion(sizes: Sizes, done: Campaign) -> str:
    n = max(done.plans)
    plans, null = done.plans[n], done.plans[n]["null"]
    exact, alone = plans["two sets"], plans["one set"]
    patient = plans["min-set-change 2"]
    dropped = done.drift[0].guesses[sizes.distances.index(1)]
    refused = 1 - done.matrix[1].opened / sizes.matrix[1]
    return (
        f"Encryption does not help here: one sum with a client and one without it, on "
        f"the same model, give the words of its mails as well as what it sent does, "
        f"even among {n} clients (average precision {exact.words.mean():.2f}; "
        f"guessing from the others: {null.words.mean():.2f}); after a drop-out, with "
        f"the model a round further, {dropped.words.mean():.2f} (guessing: "
        f"{done.drift[0].null.words.mean():.2f}). The rule that no two sets may differ "
        f"by a single client refuses both, and with them {refused:.0%} of the rounds "
        f"of a group whose clients miss one in five; but a server that chooses who "
        f"takes part then asks for three sums ({patient.words.mean():.2f}). Only the "
        f"same clients in every round of a run leave it with little more than a guess "
        f"({alone.words.mean():.2f})."
    )
