"""In a real ipykernel: the prompt for the password, and the doctor; nothing secret in a cell."""

from __future__ import annotations

from pathlib import Path

from neogate_lab.simulator import SimulatedGateway
from tests.notebook.kernel import start_kernel

SECRET = "c0rrect-h0rse"


async def test_the_password_is_asked_for_and_shown_nowhere(tmp_path: Path) -> None:
    with SimulatedGateway(password=SECRET) as sim:
        connect = f"ng.connect('{sim.host}', port={sim.port}, username='apiuser', store=':memory:')"
        async with start_kernel(tmp_path) as kernel:
            await kernel.run("import neogate_lab as ng")
            said = await kernel.typing(f"gw = {connect}; print(gw, gw.ports)", SECRET)
            assert kernel.asked == [(f"Password for {sim.host}: ", True)]
            assert "connected" in said
            assert "[1, 2, 3, 4]" in said
            said += await kernel.run("gw", "gw.store", "_ih, Out", f"{connect} is gw or 1/0")
            assert SECRET not in said
            doctor = (
                f"found = ng.diagnose('{sim.host}:{sim.port}', username='apiuser'); print(found.ok)"
            )
            assert await kernel.typing(doctor, SECRET) == "True\n"
            shown = await kernel.run("print(found, found._repr_html_()); gw.close()")
            assert "jupyterlab_widgets" in shown
            assert "came from the prompt" in shown
            assert SECRET not in shown
    assert holding(SECRET, tmp_path) == []


def holding(words: str, folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if words.encode() in path.read_bytes()]
