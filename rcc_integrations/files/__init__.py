"""Documents from files: text, HTML, PDF and Word, found by path, folder, glob or standard input."""

from rcc_integrations.document import Document
from rcc_integrations.files.finder import find_files
from rcc_integrations.files.kinds import READERS
from rcc_integrations.files.skipped import Skipped
from rcc_integrations.files.source import SIZE_LIMIT, SourceFile

__all__ = ["READERS", "SIZE_LIMIT", "Document", "Skipped", "SourceFile", "find_files"]
