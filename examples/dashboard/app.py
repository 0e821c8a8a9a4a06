"""Dashboard: the load of some machines, pushed to every browser that looks.

    triows run examples.dashboard.app:app

Then open http://127.0.0.1:8000/ in a browser, or see what it is told:

    triows connect ws://127.0.0.1:8000/load

A browser that cannot keep up gets the newest value of each machine, and holds up nobody. Starlette,
which serves the page, comes with `pip install triows[http]`.
"""

import random
from pathlib import Path

import trio
from starlette.staticfiles import StaticFiles

from triows import App, channels

MACHINES = ("ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "oak")
INTERVAL = 0.1  # seconds

app = App(__name__)
app.channels.configure("load", overflow="latest")
app.mount("/", StaticFiles(directory=Path(__file__).parent / "static", html=True))


@app.lifespan
async def lifespan():  # noqa: ASYNC124  # what it starts needs the app to run
    app.start_soon(measure)
    yield


async def measure():
    """Publish how busy each machine is, in percent, and how many are looking."""
    loads = dict.fromkeys(MACHINES, 50.0)
    while True:
        for name in MACHINES:
            # Made up, so that the example needs nothing but itself.
            loads[name] = min(100, max(0, loads[name] + random.gauss((50 - loads[name]) / 20, 5)))
            await channels.publish_json("load", {"name": name, "load": loads[name]}, key=name)
        watching = channels.statistics("load").members
        await channels.publish_json("load", {"watching": watching}, key="watching")
        await trio.sleep(INTERVAL)


# Nobody receives here, so what a browser sends is dropped and not queued.
@app.websocket(incoming="discard", on_disconnect="cancel")
async def load():
    """Push what is measured."""
    await channels.join("load")
    await trio.sleep_forever()
