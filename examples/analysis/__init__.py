"""Reads a Git repository at one commit and says what is in it.

Pure functions of (repository, commit): the same arguments give the same answer on every machine, which is what
lets a run store each answer as a step and never ask twice. Nothing here knows AgentMemo.
"""

from analysis.files import analyse_files
from analysis.model import Entry, FileFacts, History, Inventory, Summary
from analysis.report import literal, render
from analysis.repository import RepositoryError, list_files, locate, read_history
from analysis.summary import summarise

__all__ = [
    "Entry",
    "FileFacts",
    "History",
    "Inventory",
    "RepositoryError",
    "Summary",
    "analyse_files",
    "list_files",
    "literal",
    "locate",
    "read_history",
    "render",
    "summarise",
]
