"""Link all datasets of a back catalogue, or only write their references. A repeated run continues
the earlier one.

Workers scan, check, combine and prove; only this process writes files, index and ledger, by the
same steps as ``link``. The plan lists the datasets that are left; the ledger keeps what was done.
Each dataset is claimed in the ledger, so that two runs never work on the same one.
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
from .job import RunProgress as RunProgress
from .job import Watch as Watch
from .job import sources_of as sources_of
from .listing import SourceReader, locator_of
from .queue import Plan
from .report import Summary
from .run import Run, Tools
from .workers import connect_workers

PER_NODE = 4
"""Datasets that are read from one data node at the same time."""


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
    """List the datasets of the sources, and link or write those that are not done.

    Args:
        job: the sources, and what to do with their datasets.
        settings: as for ``link``, or for ``generate``.
        scheduler: address of a Dask cluster whose workers compute; empty uses processes on this
            machine.
        jobs: number of processes; 0 for one for each CPU.
        per_node: datasets that are read from one data node at the same time.
        plan_only: only list the datasets.
        retry: also try datasets again that were refused or failed with this code; with any code if
            empty.
        stop: ends the run when it is set, after the datasets in progress.
        watch: is told the progress, about twice a second.

    Returns:
        The outcomes of all datasets of the job, including those of earlier runs.

    Raises:
        SettingsError: no index is configured, or no workers are available.
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
        plan.begin(job.sources or ([locator_of(address)] if address else []))
        with make_transport(settings) as transport:
            source_reader = SourceReader(
                settings, transport, query=job.query, template=job.template, address=address
            )
            workers = None if plan_only else connect_workers(scheduler, jobs, limits_of(settings))
            tools = Tools(plan, source_reader, transport, address, workers, per_node)
            run = Run(job, settings, tools, stop or threading.Event(), watch)
            try:
                run.work()
            finally:
                if workers is not None:
                    workers.close()
        if job.query and not any(plan.counts().values()) and not plan.unread():
            source_reader.refuse_query()
        _follow_ledger(job, plan, Ledger(settings.ledger))
        if plan_only:
            return replace(run.summary(), listed=tuple(plan.listed()))
        _renew_pages(job, settings)
        return run.summary()
    finally:
        plan.close()


def _with_named_hosts(job: Job, settings: Settings) -> Settings:
    """Return the settings with the hosts of the sources added, because a person named them."""
    hosts = [host_of(place) for place in (*job.sources, job.template) if is_url(place)]
    return settings.model_copy(update={"allowed_hosts": (*settings.allowed_hosts, *hosts)})


def _renew_pages(job: Job, settings: Settings) -> None:
    """Write the list of pages beside the references, if their directory exists."""
    directory = job.output_dir or settings.reference_dir
    if directory is not None:
        proof_of = partial(kept_proof, ledger=Ledger(settings.ledger))
        index_pages(directory.expanduser(), settings, proof_of)


def _follow_ledger(job: Job, plan: Plan, ledger: Ledger) -> None:
    """Update the plan from the ledger: other commands may have removed links since."""
    if job.output_dir is not None:
        return
    before = plan.withdrawn()
    for last in ledger.latest():
        is_withdrawn = last.state in (State.WITHDRAWN, State.DELETED)
        is_back = last.dataset_id in before and last.state is State.LINKED
        if is_withdrawn or is_back:
            plan.follow(last.dataset_id, last.state, last.detail)


def _address_of(job: Job) -> IndexAddress | None:
    """Return the index that gets the links, or in which datasets are looked up; None if neither is
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
    """Return the path of the plans, beside the ledger."""
    ledger = settings.ledger.expanduser()
    return ledger.with_name(f"{ledger.stem}-plan{ledger.suffix}")
