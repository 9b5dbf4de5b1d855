import type { ListObjectVersionsCommandOutput } from '@aws-sdk/client-s3';

export interface Version {
  key: string;
  id: string | undefined;
  bytes: number;
  /** When it was written, in ms; what has no date is younger than anything. */
  at: number;
}

interface Entry extends Version {
  marker: boolean;
}

export interface Marker {
  key: string | undefined;
  version: string | undefined;
}

type Page = Pick<
  ListObjectVersionsCommandOutput,
  'Versions' | 'DeleteMarkers' | 'IsTruncated' | 'NextKeyMarker' | 'NextVersionIdMarker'
>;

/** To the client any document is a listing of nothing, a page that asks people to sign in as well. */
export function listing<T extends Page>(page: T): T {
  if (page.IsTruncated === undefined) throw new Error('what answers there is no bucket: it gives no listing');
  return page;
}

/** Versions and delete markers of all pages. Those of one key stand together; the versions among them newest first. */
export async function* eachEntry(
  after: string | undefined,
  pageAt: (marker: Marker) => Promise<Page>,
): AsyncGenerator<Entry> {
  let marker: Marker | undefined = { key: after, version: undefined };
  while (marker) {
    const page: Page = await pageAt(marker);
    yield* entriesOf(page);
    marker = page.IsTruncated ? { key: page.NextKeyMarker, version: page.NextVersionIdMarker } : undefined;
  }
}

/** A page gives versions and markers apart, each in the order of keys. */
function entriesOf({ Versions = [], DeleteMarkers = [] }: Page): Entry[] {
  const versions = Versions.map(({ Key = '', VersionId, Size = 0, LastModified }) => ({
    key: Key,
    id: VersionId,
    bytes: Size,
    at: LastModified?.getTime() ?? Infinity,
    marker: false,
  }));
  if (DeleteMarkers.length === 0) return versions;
  const markers = DeleteMarkers.map(({ Key = '', VersionId }) => ({
    key: Key,
    id: VersionId,
    bytes: 0,
    at: Infinity,
    marker: true,
  }));
  // A stable sort: the versions of one key stay newest first.
  return [...versions, ...markers].toSorted((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
}

export interface VersionCount {
  key: string;
  versions: number;
  markers: number;
}

export async function* countVersions(entries: AsyncIterable<Entry>): AsyncGenerator<VersionCount> {
  let of: VersionCount | undefined;
  for await (const { key, marker } of entries) {
    if (of?.key !== key) {
      if (of) yield of;
      of = { key, versions: 0, markers: 0 };
    }
    if (marker) of.markers += 1;
    else of.versions += 1;
  }
  if (of) yield of;
}
