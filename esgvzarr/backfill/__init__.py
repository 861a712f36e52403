"""The back catalogue: link all datasets that the sources have, or only write their references. Run
again, it goes on where it was.

Workers scan, check, combine and prove; this process alone writes files, index and ledger, through
the same steps as ``link``. A plan says what is left; the ledger, what was done. Each dataset is
claimed in the ledger, so two runs never do one twice.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..errors import SettingsError
from ..generate import index_pages, limits_of, make_transport
from ..link.address import address_of_config
from ..link.attempt import kept_proof
from ..link.ledger import Ledger
from ..link.states import State
from ..link.task import IndexAddress
from ..settings import Settings
from ..transport import host_of, is_url
from .job import Job as Job
from .job import Standing as Standing
from .job import Watch as Watch
from .job import sources_of as sources_of
from .listing import Survey
from .queue import Plan
from .report import Summary
from .run import Run, Tools
from .workers import connect_workers

PER_NODE = 4
"""Datasets that are read from one data node at once."""


def backfill(
    job: Job,
    settings: Settings,
    *,
    scheduler: str = "",
    jobs: int = 0,
    per_node: int = PER_NODE,
    plan_only: bool = False,
    retry: str | None = None,
    stop: threading.Event | None = None,
    watch: Watch = lambda _: None,
) -> Summary:
    """List the datasets of the sources, and do those that are not done.

    Args:
        job: what.
        settings: as for ``link``, or for ``generate``.
        scheduler: of a Dask cluster whose workers compute; else processes on this machine do.
        jobs: how many processes; 0: one for each CPU.
        per_node: datasets that are read from one data node at once.
        plan_only: only list them.
        retry: also do again what was refused or failed, with this code; with any code if empty.
        stop: set it to end the run: what is being computed is finished first.
        watch: told how far it is, about twice a second.

    Returns:
        What became of all datasets of the job, in earlier runs too.

    Raises:
        SettingsError: no index, or no workers.
        StoreError: the ledger or the plan cannot be used.
    """
    address = _address_of(job)
    settings = _with_named_hosts(job, settings)
    if not plan_only:
        Ledger(settings.ledger).check()
    plan = Plan(plan_path(settings), str(job))
    try:
        if retry is not None:
            plan.reopen(retry)
        plan.begin(job.sources or ([f"{address.kind}:{address.location}"] if address else []))
        with make_transport(settings) as transport:
            survey = Survey(
                settings, transport, query=job.query, template=job.template, address=address
            )
            workers = None if plan_only else connect_workers(scheduler, jobs, limits_of(settings))
            tools = Tools(plan, survey, transport, address, workers, per_node)
            run = Run(job, settings, tools, stop or threading.Event(), watch)
            try:
                run.work()
            finally:
                if workers is not None:
                    workers.close()
        if job.query and not any(plan.counts().values()) and not plan.unread():
            survey.refuse_query()
        _follow_ledger(job, plan, Ledger(settings.ledger))
        if plan_only:
            return replace(run.summary(), listed=tuple(plan.listed()))
        _renew_pages(job, settings)
        return run.summary()
    finally:
        plan.close()


def _with_named_hosts(job: Job, settings: Settings) -> Settings:
    """The settings that allow the hosts of the sources too, since a person named them."""
    hosts = [host_of(place) for place in (*job.sources, job.template) if is_url(place)]
    return settings.model_copy(update={"allowed_hosts": (*settings.allowed_hosts, *hosts)})


def _renew_pages(job: Job, settings: Settings) -> None:
    """Write the list of pages where the references are, if there is such a directory."""
    directory = job.output_dir or settings.reference_dir
    if directory is not None:
        proof_of = partial(kept_proof, ledger=Ledger(settings.ledger))
        index_pages(directory.expanduser(), settings, proof_of)


def _follow_ledger(job: Job, plan: Plan, ledger: Ledger) -> None:
    """Let the plan say what other commands did since: a dataset that was unpublished is not linked
    any more.
    """
    if job.output_dir is not None:
        return
    before = plan.withdrawn()
    for last in ledger.latest():
        is_withdrawn = last.state in (State.WITHDRAWN, State.DELETED)
        is_back = last.dataset_id in before and last.state is State.LINKED
        if is_withdrawn or is_back:
            plan.follow(last.dataset_id, last.state, last.detail)


def _address_of(job: Job) -> IndexAddress | None:
    """The index in which to link, or in which datasets are looked up; None where neither is
    needed.
    """
    needed = job.output_dir is None or not job.sources
    if job.config is None:
        if needed:
            raise SettingsError(
                "esgvzarr backfill",
                "names no index",
                expected="--config, or --output-dir and a source",
                code="settings-index",
            )
        return None
    try:
        return address_of_config(job.config)
    except SettingsError:
        if needed:
            raise
        return None


def plan_path(settings: Settings) -> Path:
    """Where plans are kept: beside the ledger."""
    ledger = settings.ledger.expanduser()
    return ledger.with_name(f"{ledger.stem}-plan{ledger.suffix}")
