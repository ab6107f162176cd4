"""`unseen` with some clients that fail on purpose.

    python -P -m experiments.faults.launcher FAULT ... -- run [options of unseen]

Everything is the product's own but the command of the clients that have a fault.
"""

import sys
from typing import Any

from experiments import cli, commands
from experiments.faults.fault import Fault

_NODE, _FAULTY_NODE = "clients.node", "experiments.faults.node"


def main() -> None:
    """Run the command line after the `--`, with the faults before it."""
    split = sys.argv.index("--")
    faults = {}
    for text in sys.argv[1:split]:
        faults[Fault.from_text(text).client] = text
    sound = commands.thin_node_command

    def command(client: commands.ClientSpec, **options: Any) -> list[str]:
        words = sound(client, **options)
        if client.client_id not in faults:
            return words
        place = words.index(_NODE)
        return [
            *words[:place],
            _FAULTY_NODE,
            faults[client.client_id],
            *words[place + 1 :],
        ]

    commands.thin_node_command = command
    sys.argv = ["unseen", *sys.argv[split + 1 :]]
    cli.main()


if __name__ == "__main__":
    main()
