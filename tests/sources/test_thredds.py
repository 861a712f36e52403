"""Catalogues give the files of the dataset that was asked for, whole, from wherever their pages
lead, or a clear refusal.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esgvzarr.errors import SourceError, TransportError
from esgvzarr.model import DatasetId
from esgvzarr.sources.thredds import MAX_PAGES, read_catalogue
from esgvzarr.sources.thredds_page import parse_catalogue
from esgvzarr.testing import Status, ThreddsServer
from esgvzarr.transport import Transport

MASTER = "CMIP6.CMIP.MOHC.UKESM.historical.r1i1p1f1.Amon.tas.gn"
DSID = f"{MASTER}.v20190406"
ID = DatasetId(MASTER, "20190406")
FOLDER = "CMIP6/CMIP/MOHC/UKESM/historical/r1i1p1f1/Amon/tas/gn/v20190406"
URL = f"https://esgf.example.org/thredds/catalog/esgcet/1/{DSID}.xml"
V1 = (
    'xmlns="http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0" '
    'xmlns:xlink="http://www.w3.org/1999/xlink"'
)
SERVICES = """
<service name="all" serviceType="Compound" base="">
  <service name="inner" serviceType="Compound" base="">
  <service name="odap" serviceType="OPENDAP" base="/thredds/dodsC/"/>
  <service name="files" serviceType="HTTPServer" base="/thredds/fileServer/"/></service></service>
<service name="GRIDFTP" serviceType="GridFTP" base="gsiftp://esgf.example.org:2811/"/>"""


def page(body: str, *, services: str = SERVICES, namespace: str = V1) -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f"{head}\n<catalog {namespace}>{services}{body}</catalog>".encode()


def dataset(files: str, dsid: str = DSID) -> str:
    return f'<dataset ID="{dsid}" name="{dsid}">{files}</dataset>'


def file(name: str = "a.nc", inside: str = "", attributes: str = 'serviceName="all"') -> str:
    return (
        f'<dataset name="{name}" ID="{DSID}.{name}" urlPath="root/{name}" '
        f"{attributes}>{inside}</dataset>"
    )


def urls(xml: bytes, url: str = URL) -> list[str]:
    return [found.url for top in parse_catalogue(xml, url).datasets for found in top.files]


def link(href: str, title: str = "more") -> str:
    return f'<catalogRef xlink:href="{href}" xlink:title="{title}" name=""/>'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreddsServer]:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    for name in ("a.nc", "b.nc", f"{DSID}.json"):
        (folder / name).write_bytes(b"CDF\x01 hdl:21.14100/b7cc33e8-ae5a-46ef-a2e9-34c2045669d7")
    (tmp_path / "CMIP6/CMIP/MOHC/UKESM/piControl").mkdir()
    with ThreddsServer(tmp_path) as running:
        yield running


@pytest.fixture
def transport(server: ThreddsServer) -> Iterator[Transport]:
    with Transport(allowed_hosts=[server.host], retries=0, timeout_s=5) as running:
        yield running


def served(server: ThreddsServer, name: str, xml: bytes) -> str:
    (server.root / name).write_bytes(xml)
    return server.url_of(name)


# One page


@pytest.mark.parametrize(
    "namespace",
    [
        V1,
        'xmlns="http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v0.6" '
        'xmlns:xlink="http://www.w3.org/1999/xlink"',
        'xmlns="http://www.unidata.ucar.edu/thredds"',
        "",
    ],
)
def test_catalogues_of_all_versions_are_read(namespace: str) -> None:
    assert urls(page(dataset(file()), namespace=namespace)) == [
        "https://esgf.example.org/thredds/fileServer/root/a.nc"
    ]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("/thredds/fileServer/", "https://esgf.example.org/thredds/fileServer/root/a.nc"),
        ("http://data.example.org:8080/files/", "http://data.example.org:8080/files/root/a.nc"),
        ("../../../fileServer/", "https://esgf.example.org/thredds/fileServer/root/a.nc"),
    ],
)
def test_service_bases_may_be_absolute_or_relative(base: str, expected: str) -> None:
    services = f'<service name="all" serviceType="HTTPServer" base="{base}"/>'
    assert urls(page(dataset(file()), services=services)) == [expected]


@pytest.mark.parametrize(
    "element",
    [
        '<dataset name="a.nc" urlPath="root/a.nc" serviceName="files"/>',
        '<dataset name="a.nc" urlPath="root/a.nc"><serviceName>all</serviceName></dataset>',
        '<dataset name="a.nc" '
        'urlPath="root/a.nc"><metadata><serviceName>inner</serviceName></metadata></dataset>',
        '<metadata inherited="true"><serviceName>all</serviceName></metadata><dataset '
        'name="x"><dataset name="a.nc" urlPath="root/a.nc"/></dataset>',
        '<dataset name="a.nc"><access serviceName="odap" urlPath="no"/><access '
        'serviceName="files" urlPath="root/a.nc"/></dataset>',
        '<dataset name="a.nc"><access '
        'urlPath="root/a.nc"><serviceName>files</serviceName></access></dataset>',
        '<dataset name="a.nc" urlPath="root/a.nc" serviceName="GRIDFTP"><access '
        'serviceName="all" urlPath="root/a.nc"/></dataset>',
    ],
)
def test_the_service_of_a_file_may_be_said_in_every_legal_place(element: str) -> None:
    assert urls(page(dataset(element))) == ["https://esgf.example.org/thredds/fileServer/root/a.nc"]


def test_metadata_that_is_not_inherited_is_not_handed_down() -> None:
    body = (
        '<metadata><serviceName>all</serviceName></metadata><dataset name="a.nc" '
        'urlPath="root/a.nc"/>'
    )
    assert urls(page(dataset(body))) == []


def test_properties_of_a_file_are_kept() -> None:
    inside = "".join(
        f'<property name="{name}" value="{value}"/>'
        for name, value in {
            "size": "12",
            "checksum": "ab" * 32,
            "checksum_type": "SHA256",
            "tracking_id": "hdl:21.14100/1",
        }.items()
    )
    (found,) = parse_catalogue(page(dataset(file(inside=inside))), URL).datasets[0].files
    assert (found.name, found.size, found.checksum, found.checksum_type, found.tracking_id) == (
        "a.nc",
        12,
        "ab" * 32,
        "SHA256",
        "hdl:21.14100/1",
    )


@pytest.mark.parametrize(("units", "size"), [("bytes", 1234), ("Kbytes", None)])
def test_a_rounded_size_is_not_taken_for_bytes(units: str, size: int | None) -> None:
    xml = page(dataset(file(inside=f'<dataSize units="{units}">1234</dataSize>')))
    assert parse_catalogue(xml, URL).datasets[0].files[0].size == size


def test_only_netcdf_is_taken() -> None:
    """A scanned folder also shows the reference file that we wrote there."""
    assert len(urls(page(dataset(file("a.nc") + file(f"{DSID}.json") + file("readme.txt"))))) == 1


@pytest.mark.parametrize("name", ["c.nc4", "c.NC", "c.Nc", "c.cdf"])
def test_netcdf_is_known_whatever_its_ending(name: str) -> None:
    """Files of other endings were left out without a word."""
    assert len(urls(page(dataset(file("a.nc") + file(name))))) == 2


@pytest.mark.parametrize(
    ("left_over", "code"),
    [
        (file("c.nc.gz"), "source-incomplete"),
        (file("c.NC.Z"), "source-incomplete"),
        (file("c.grb2"), "source-incomplete"),
        ('<dataset name="third" urlPath="r/c.nc" serviceName="none"/>', "source-url"),
        ('<dataset name="third" ID="x"><access urlPath="r/c.NC4"/></dataset>', "source-url"),
        ('<dataset name="c.nc"/>', "source-url"),
    ],
)
def test_data_that_cannot_be_taken_make_the_dataset_incomplete(
    server: ThreddsServer, transport: Transport, left_over: str, code: str
) -> None:
    """A file may be named by a title; its path says what it is."""
    url = served(server, "one.xml", page(dataset(file("a.nc") + left_over)))
    with pytest.raises(SourceError) as error:
        read_catalogue(url, transport, ID)
    assert error.value.code == code


@pytest.mark.parametrize("asked", [ID, None])
def test_a_dataset_in_two_elements_is_not_taken_in_part(
    server: ThreddsServer, transport: Transport, asked: DatasetId | None
) -> None:
    """Within another of the same name it is the same; beside it, it is a part."""
    inner = dataset(file("a.nc") + dataset(file("b.nc")))
    url = served(server, "nested.xml", page(inner))
    assert len(read_catalogue(url, transport, asked).files) == 2
    url = served(server, "two.xml", page(dataset(file("a.nc")) + dataset(file("b.nc"))))
    with pytest.raises(SourceError, match="2 dataset elements, of 1 and 1 files") as error:
        read_catalogue(url, transport, asked)
    assert error.value.code == "source-incomplete"


def test_blanks_in_paths_are_quoted_and_quoted_ones_left_alone() -> None:
    assert urls(page(dataset(file("a b%20c.nc"))))[0].endswith("/root/a%20b%20c.nc")


BOMB = b'<!DOCTYPE c [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><catalog>&b;</catalog>'


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (BOMB, "document type"),
        (
            ('<?xml version="1.0" encoding="utf-16"?>' + BOMB.decode()).encode("utf-16"),
            "document type",
        ),
        (b'<!DOCTYPE c SYSTEM "file:///etc/passwd"><catalog/>', "document type"),
        (b"<!doctype html><html><body>Please log in</body></html>", "not a THREDDS catalogue"),
        (b"<html><body>Please log in</body></html>", "root element is 'html'"),
        (b'<?xml version="1.0" encoding="klingon"?><catalog/>', "not a THREDDS catalogue"),
        (b"<catalog><dataset></catalog>", "not a THREDDS catalogue"),
        (b"", "not a THREDDS catalogue"),
        (b"\x89HDF\r\n\x1a\n", "not a THREDDS catalogue"),
        (page("<dataset>" * 60 + "</dataset>" * 60), "nested deeper"),
        (page("", services='<service name="x"/>' * 1001), "1001 services"),
        (page(dataset(file(inside='<property name="size" value="-1"/>'))), "size '-1'"),
        (
            page(
                dataset(file()),
                services='<service name="all" serviceType="HTTPServer" base="file:///etc/"/>',
            ),
            "http",
        ),
        (
            page(
                dataset(file()),
                services='<service name="all" serviceType="HTTPServer" base="http://me:pw@host/"/>',
            ),
            "http",
        ),
        (
            page(
                dataset(file()),
                services='<service name="all" serviceType="HTTPServer" base="http://[bad/"/>',
            ),
            "address",
        ),
        (page(link("http://[bad/")), "address"),
    ],
)
def test_hostile_and_broken_pages_are_refused(xml: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as error:
        parse_catalogue(xml, URL)
    assert error.value.subject == URL


def test_many_nested_elements_do_no_harm() -> None:
    deep = b"<x>" * 100_000 + b"</x>" * 100_000
    assert parse_catalogue(b"<catalog>" + deep + b"</catalog>", URL).datasets == ()


def test_a_local_page_with_relative_services_asks_for_its_url() -> None:
    with pytest.raises(SourceError, match="by its URL"):
        parse_catalogue(page(dataset(file())), "/data/catalog.xml")


def test_references_are_resolved_and_only_http_is_kept() -> None:
    body = (
        link("2/x.xml")
        + link("/thredds/y.xml#here")
        + link("file:///etc/passwd")
        + link("gopher://x/")
        + link("")
    )
    references = [
        ref.url for ref in parse_catalogue(page(body), "https://h/thredds/catalog.xml").references
    ]
    assert references == [
        "https://h/thredds/2/x.xml",
        "https://h/thredds/y.xml",
        "https://h/thredds/catalog.xml",
    ]


# Finding the dataset


def test_a_dataset_page_of_the_esgf_publisher(server: ThreddsServer, transport: Transport) -> None:
    url = server.add_dataset(DSID, [f"{FOLDER}/a.nc", f"{FOLDER}/b.nc"])
    record = read_catalogue(url, transport)
    assert (record.id, record.data_node) == (ID, server.host)
    assert [found.url for found in record.files] == [
        server.url_of(f"{FOLDER}/{name}") for name in ("a.nc", "b.nc")
    ]
    first = record.files[0]
    assert (first.size, first.checksum_type) == (
        (server.root / FOLDER / "a.nc").stat().st_size,
        "SHA256",
    )
    assert first.tracking_id == "hdl:21.14100/b7cc33e8-ae5a-46ef-a2e9-34c2045669d7"


def test_the_address_that_people_see_leads_to_the_same(
    server: ThreddsServer, transport: Transport
) -> None:
    url = server.add_dataset(DSID, [f"{FOLDER}/a.nc"])
    assert read_catalogue(url.replace(".xml", ".html?dataset=x#y"), transport).id == ID


def test_a_dataset_is_found_from_the_root(server: ThreddsServer, transport: Transport) -> None:
    for year in range(2000, 2010):
        server.add_dataset(f"{MASTER}.v{year}0101", [f"{FOLDER}/a.nc"])
    server.add_dataset(DSID, [f"{FOLDER}/a.nc", f"{FOLDER}/b.nc"])
    url = f"{server.url}/thredds/catalog/esgcet/catalog.xml"
    assert len(read_catalogue(url, transport, ID).files) == 2
    assert len(server.requests) == 2, "the page that is named for the dataset is read first"


def test_a_dataset_is_found_down_a_tree_of_folders(
    server: ThreddsServer, transport: Transport
) -> None:
    record = read_catalogue(server.catalog_url, transport, ID)
    assert [found.name for found in record.files] == ["a.nc", "b.nc"]
    assert not any("piControl" in request.path for request in server.requests)


def test_a_folder_is_taken_at_the_operators_word(
    server: ThreddsServer, transport: Transport
) -> None:
    """Where a page of plain files states no DSID, --dataset-id says it."""
    (server.root / "plain").mkdir()
    (server.root / "plain" / "a.nc").write_bytes(b"CDF\x01")
    url = f"{server.url}/thredds/catalog/esg_dataroot/plain/catalog.xml"
    assert read_catalogue(url, transport, ID).id == ID
    with pytest.raises(SourceError, match="--dataset-id"):
        read_catalogue(url, transport)


def test_a_dataset_folder_with_folders_in_it_is_refused(
    server: ThreddsServer, transport: Transport
) -> None:
    """Files further down would be missing from the references."""
    (server.root / FOLDER / "more").mkdir()
    with pytest.raises(SourceError, match="holds further folders, first 'more'") as error:
        read_catalogue(
            f"{server.url}/thredds/catalog/esg_dataroot/{FOLDER}/catalog.xml", transport, ID
        )
    assert error.value.code == "source-incomplete"


def test_the_id_may_stand_in_the_publishers_properties(
    server: ThreddsServer, transport: Transport
) -> None:
    inside = (
        f'<property name="dataset_id" value="{MASTER}"/><property name="dataset_version" '
        'value="20190406"/>'
    )
    replica = '<property name="replica" value="true"/><property name="pid" value="hdl:21.14100/1"/>'
    body = f'<dataset name="project=CMIP6, model=UKESM" ID="x">{inside}{replica}{file()}</dataset>'
    record = read_catalogue(served(server, "one.xml", page(body)), transport)
    assert (record.id, record.replica, record.pid) == (ID, True, "hdl:21.14100/1")


def test_aggregations_are_no_files(server: ThreddsServer, transport: Transport) -> None:
    aggregation = (
        f'<dataset name="{DSID}.aggregation" ID="{DSID}.aggregation" '
        f'urlPath="{DSID}.aggregation.1" serviceName="odap"/>'
    )
    record = read_catalogue(
        served(server, "one.xml", page(dataset(file() + aggregation))), transport
    )
    assert [found.name for found in record.files] == ["a.nc"]


def test_a_file_without_http_makes_the_dataset_incomplete(
    server: ThreddsServer, transport: Transport
) -> None:
    body = dataset(file("a.nc") + file("b.nc", attributes='serviceName="GRIDFTP"'))
    with pytest.raises(SourceError, match=r"no HTTPServer serves b\.nc"):
        read_catalogue(served(server, "one.xml", page(body)), transport)


def test_files_nested_in_folders_all_count(server: ThreddsServer, transport: Transport) -> None:
    deeper = (
        '<dataset name="deeper"><dataset name="a.nc" urlPath="root/deeper/a.nc" '
        'serviceName="all"/></dataset>'
    )
    record = read_catalogue(served(server, "one.xml", page(dataset(file() + deeper))), transport)
    assert [found.name for found in record.files] == ["a.nc", "a.nc"]


def test_of_several_datasets_on_a_page_one_must_be_named(
    server: ThreddsServer, transport: Transport
) -> None:
    other = f"{MASTER}.v20200101"
    url = served(server, "two.xml", page(dataset(file()) + dataset(file("b.nc"), other)))
    assert [
        found.name for found in read_catalogue(url, transport, DatasetId.parse(other)).files
    ] == ["b.nc"]
    with pytest.raises(SourceError, match=rf"2 datasets.*{DSID}.*{other}.*--dataset-id"):
        read_catalogue(url, transport)


def test_another_dataset_than_asked_for_is_not_taken(
    server: ThreddsServer, transport: Transport
) -> None:
    url = server.add_dataset(DSID, [f"{FOLDER}/a.nc"])
    with pytest.raises(SourceError, match=r"has no .*v20200101 in the 1 pages") as error:
        read_catalogue(url, transport, DatasetId(MASTER, "20200101"))
    assert error.value.code == "source-none"


def test_an_unnamed_page_of_another_address_is_not_taken(
    server: ThreddsServer, transport: Transport
) -> None:
    url = served(server, f"{MASTER}.v20200101.xml", page(f'<dataset name="x">{file()}</dataset>'))
    with pytest.raises(SourceError, match=f"has no {DSID}"):
        read_catalogue(url, transport, ID)
    assert read_catalogue(url, transport).id == DatasetId(MASTER, "20200101")


def test_files_on_two_hosts_or_listed_twice_are_refused(
    server: ThreddsServer, transport: Transport
) -> None:
    services = (
        SERVICES + '<service name="far" serviceType="HTTPServer" base="https://far.example.org/"/>'
    )
    body = dataset(file() + file("b.nc", attributes='serviceName="far"'))
    with pytest.raises(SourceError, match="one data node"):
        read_catalogue(served(server, "hosts.xml", page(body, services=services)), transport)
    with pytest.raises(SourceError, match="each file once"):
        read_catalogue(served(server, "twice.xml", page(dataset(file() + file()))), transport)


def test_loops_and_long_ways_end(server: ThreddsServer, transport: Transport) -> None:
    served(server, "loop.xml", page(link("other.xml") + link("loop.xml")))
    served(server, "other.xml", page(link("loop.xml")))
    with pytest.raises(SourceError, match="in the 2 pages read"):
        read_catalogue(server.url_of("loop.xml"), transport, ID)
    for number in range(30):
        served(server, f"chain{number}.xml", page(link(f"chain{number + 1}.xml")))
    with pytest.raises(SourceError, match="in the 21 pages read"):
        read_catalogue(server.url_of("chain0.xml"), transport, ID)


def test_the_number_of_pages_is_bounded(server: ThreddsServer, transport: Transport) -> None:
    for number in range(MAX_PAGES + 50):
        served(server, f"{number}.xml", page(""))
    url = served(
        server, "wide.xml", page("".join(link(f"{number}.xml") for number in range(MAX_PAGES + 50)))
    )
    server.clear()
    with pytest.raises(SourceError, match=f"in the {MAX_PAGES} pages read"):
        read_catalogue(url, transport, ID)
    assert len(server.requests) == MAX_PAGES


def test_other_hosts_are_not_followed_unless_allowed(
    server: ThreddsServer, transport: Transport
) -> None:
    url = server.add_dataset(DSID, [f"{FOLDER}/a.nc"]).replace(server.host, server.other_host)
    start = served(server, "start.xml", page(link(url, DSID)))
    server.clear()
    with pytest.raises(SourceError, match=r"1 could not be read.*not allowed"):
        read_catalogue(start, transport, ID)
    assert len(server.requests) == 1
    transport.allow(server.other_host, named=True)
    assert read_catalogue(start, transport, ID).data_node == server.other_host


def test_a_broken_page_on_the_way_does_not_end_the_search(
    server: ThreddsServer, transport: Transport
) -> None:
    served(server, "bad.xml", b"<html>")
    url = server.add_dataset(DSID, [f"{FOLDER}/a.nc"])
    start = served(
        server, "start.xml", page(link("bad.xml", DSID) + link("gone.xml", DSID) + link(url))
    )
    assert read_catalogue(start, transport, ID).id == ID


def test_whether_to_try_later_is_said(server: ThreddsServer, transport: Transport) -> None:
    url = server.add_dataset(DSID, [f"{FOLDER}/a.nc"])
    start = served(server, "start.xml", page(link(url, DSID)))
    server.fault(Status(503), "*esgcet*")
    with pytest.raises(SourceError, match="503") as error:
        read_catalogue(start, transport, ID)
    assert error.value.retryable


def test_a_first_page_that_cannot_be_read_is_the_transports_error(
    server: ThreddsServer, transport: Transport
) -> None:
    with pytest.raises(TransportError, match="404"):
        read_catalogue(server.url_of("missing.xml"), transport, ID)
    with pytest.raises(TransportError, match="not a URL"):
        read_catalogue("http://[bad/catalog.xml", transport, ID)


def test_a_page_of_many_files_is_read_in_time() -> None:
    xml = page(dataset("".join(file(f"{number}.nc") for number in range(20_000))))
    started = time.process_time()
    assert len(urls(xml)) == 20_000
    assert time.process_time() - started < 10
