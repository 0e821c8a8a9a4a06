"""Echo on hypercorn's trio worker: triows next to Starlette, Quart-Trio and no framework.

python -m benchmarks.echo_hypercorn --rounds 5 --clients 64 --size 32 --record
"""

from benchmarks.comparison import Comparison, main
from benchmarks.contenders import HYPERCORN, Contender, hypercorn

BARE = Contender(name="bare ASGI", command=hypercorn("bare_asgi"), packages=HYPERCORN)
STARLETTE = Contender(
    name="Starlette", command=hypercorn("starlette_app"), packages=("starlette", *HYPERCORN)
)
QUART = Contender(
    name="Quart-Trio",
    command=hypercorn("quart_app"),
    packages=("quart", "quart-trio", *HYPERCORN),
)
TRIOWS = Contender(name="triows", command=hypercorn("triows_app"), packages=("triows", *HYPERCORN))

ECHO_HYPERCORN = Comparison(
    name="echo_hypercorn",
    title="Echo on hypercorn's trio worker",
    kind="echo",
    what=("message", "messages"),
    ours=TRIOWS,
    contenders=(BARE, STARLETTE, QUART, TRIOWS),
    limits={BARE.name: {"bound": 1.10, "goal": 1.05}},
)

if __name__ == "__main__":
    main(ECHO_HYPERCORN)
