"""What the notebooks' tests run in the notebooks' own environment: no pytest at the top."""

import json
from typing import Any


def execute(notebook: str, folder: str, parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Execute the notebook at path `notebook` in `folder`, with `parameters` set after its cell of parameters.

    By the id of each code cell: "text", what it wrote, and "pictures", its PNG files in base64.
    """
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(notebook, as_version=4)
    (place,) = [i for i, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ())]
    given = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    book.cells.insert(place + 1, nbformat.v4.new_code_cell(given))
    client = NotebookClient(book, timeout=None, kernel_name="python3", resources={"metadata": {"path": folder}})
    try:
        client.execute()
    finally:
        said = {cell.id: _said(cell.outputs) for cell in book.cells if cell.cell_type == "code"}
        print(json.dumps({name: outputs["text"] for name, outputs in said.items()}, indent=1))
    return said


def _said(outputs: list[Any]) -> dict[str, Any]:
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    data = [output.data for output in outputs if "data" in output]
    return {"text": text, "pictures": [one["image/png"] for one in data if "image/png" in one]}
