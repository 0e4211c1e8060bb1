from __future__ import annotations

import subprocess
import sys


def test_finding_files_needs_neither_torch_nor_any_file_library() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'bs4', 'pypdf', 'docx', 'charset_normalizer'):\n"
        "    sys.modules[name] = None\n"
        "from rcc_integrations.files import find_files\n"
        "import io\n"
        "source = find_files('-', stdin=io.BytesIO('café'.encode()))[0][0]\n"
        "assert source.read().text == 'café'\n"
    )
    subprocess.run([sys.executable, "-X", "utf8", "-W", "error", "-c", code], check=True)
