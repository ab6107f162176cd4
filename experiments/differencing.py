"""E6: do two correct sums, with and without a client, give that client's update?

    python -m experiments.differencing [--quick] [--data DIR]

A server that follows the protocol still chooses the model, the round and who takes
part. Real key holders are asked for sums that differ by one client: twice in a round,
in a round that is repeated, after a drop-out; without their rules and with them. Then
over many rounds, by least squares (Lam et al. 2021, arXiv:2106.06089).
"""

from typing import Final

from experiments.privacy.differencing.campaign import Sizes, run
from experiments.privacy.differencing.findings import outcome
from experiments.privacy.experiment import Experiment, Options, Outcome, main
from experiments.privacy.words.mails import load_mails


def find(options: Options) -> Outcome:
    """Do the experiment."""
    mails, sizes = load_mails(options.data), Sizes.of(options)
    options.tell(f"{len(mails.private)} {mails.source}, {mails.num_words} words")
    return outcome(mails, sizes, run(options, mails, sizes))


EXPERIMENT: Final = Experiment(
    number="E6",
    name="differencing",
    title="Two sums that differ by one client",
    question="Do two correct sums give one client's update?",
    encryption_helps=False,
    measure=find,
    later="How much noise inside the encryption blurs such a difference comes with the "
    "next step, differential privacy.",
)


if __name__ == "__main__":
    main(EXPERIMENT)
