export { type CephRgw, type CephRgwOptions, type CephRgwUser, cephRgwMissing, startCephRgw } from "./ceph-rgw.ts";
export { type Certificates, makeCertificates, type TlsIdentity } from "./certificates.ts";
export { chromiumMissing, findChromium } from "./chromium.ts";
export {
  baseUrl,
  fetchPinned,
  MAVEN_CENTRAL,
  type PinnedFile,
  sha256OfFile,
  UnreachableError,
} from "./fetch-pinned.ts";
export { type Fixture, type FixtureName, unpackFixture } from "./fixtures.ts";
export { flipBit } from "./flip-bit.ts";
export { freePorts } from "./free-port.ts";
export { writeLargeData } from "./large-data.ts";
export { type Monit, type MonitOptions, type MonitService, monitMissing, startMonit } from "./monit.ts";
export { createRecordedWriter, type RecordedWriter, type RecordedWriterOptions } from "./recorded-writer.ts";
export { fetchRelease, RELEASE_LINES, type Release, type ReleaseLine, requireReleases } from "./releases.ts";
export { requirePart } from "./require-part.ts";
export { writeSampleData } from "./sample-data.ts";
export { type SystemSystemd, startSystemSystemd } from "./system-systemd.ts";
export { startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";
export { type ProcessExit, spawnTethered, type TetheredProcess } from "./tethered-process.ts";
export { startUserSystemd, type UserSystemd, userSystemdMissing } from "./user-systemd.ts";
export {
  type EnsembleOptions,
  purge,
  startEnsemble,
  startZooKeeper,
  type ZooKeeperOptions,
  type ZooKeeperServer,
  zooKeeperClassPath,
  zooKeeperMissing,
} from "./zookeeper.ts";
export {
  type ConnectOptions,
  type CreateOptions,
  connectZooKeeper,
  type MultiOperation,
  type Written,
  type Znode,
  type ZnodeStat,
  type ZooKeeperClient,
  ZooKeeperError,
} from "./zookeeper-client.ts";
