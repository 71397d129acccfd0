import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A certificate and its key, as PEM files. */
export interface TlsIdentity {
  readonly certFile: string;
  readonly keyFile: string;
  /** Key and certificate in one file, as ZooKeeper wants its `ssl.keyStore`. */
  readonly keyStoreFile: string;
}

/** Certificates of a server and its clients on loopback, for `127.0.0.1`, `::1` and `localhost`. */
export interface Certificates {
  /** The authority that signed `server` and `client`. */
  readonly caFile: string;
  readonly server: TlsIdentity;
  readonly client: TlsIdentity;
  /** Signed by an authority that nobody trusts. */
  readonly stranger: TlsIdentity;
  /**
   * Settings of a server (3.5.7 and later) whose client port speaks plain and TLS, and that wants a certificate of its TLS
   * clients. With `secureClientPort` added, that port speaks TLS only.
   */
  readonly zooCfg: Readonly<Record<string, string>>;
}

/** Makes them anew in `folder`, which is created when missing. They are good for two days. */
export async function makeCertificates(folder: string): Promise<Certificates> {
  await mkdir(folder, { recursive: true });
  const authority = issue("test authority", null);
  const caFile = join(folder, "ca.pem");
  await writeFile(caFile, authority.pem);
  const server = await writeIdentity(folder, "server", authority);
  const client = await writeIdentity(folder, "client", authority);
  const stranger = await writeIdentity(folder, "stranger", issue("another authority", null));
  const zooCfg = {
    serverCnxnFactory: "org.apache.zookeeper.server.NettyServerCnxnFactory",
    "client.portUnification": "true",
    // Servers add it themselves only where there is a secureClientPort.
    "authProvider.x509": "org.apache.zookeeper.server.auth.X509AuthenticationProvider",
    "ssl.keyStore.location": server.keyStoreFile,
    "ssl.keyStore.type": "PEM",
    "ssl.trustStore.location": caFile,
    "ssl.trustStore.type": "PEM",
    "ssl.clientAuth": "need",
  };
  return { caFile, server, client, stranger, zooCfg };
}

interface Issued {
  readonly name: string;
  readonly key: KeyObject;
  readonly pem: string;
}

async function writeIdentity(folder: string, name: string, authority: Issued): Promise<TlsIdentity> {
  const { key, pem } = issue(name, authority);
  const keyPem = key.export({ type: "pkcs8", format: "pem" }) as string;
  const files = ["cert", "key", "keystore"].map((part) => join(folder, `${name}-${part}.pem`)) as [
    string,
    string,
    string,
  ];
  const [certFile, keyFile, keyStoreFile] = files;
  await writeFile(certFile, pem);
  await writeFile(keyFile, keyPem, { mode: 0o600 });
  await writeFile(keyStoreFile, keyPem + pem, { mode: 0o600 });
  return { certFile, keyFile, keyStoreFile };
}

// Node signs and reads certificates, but makes none; tests should need no other program for it. So this is the DER of
// RFC 5280, with what Java and OpenSSL look at and no more.
const ECDSA_WITH_SHA256 = der(0x30, oid("2a8648ce3d040302"));
const DAY_MS = 24 * 60 * 60 * 1000;

/** Without an `authority` the certificate is one itself, signed with its own key. */
function issue(name: string, authority: Issued | null): Issued {
  const { publicKey, privateKey: key } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const critical = der(0x01, Buffer.from([0xff]));
  const purpose =
    authority === null
      ? der(0x30, oid("551d13"), critical, der(0x04, der(0x30, der(0x01, Buffer.from([0xff])))))
      : der(0x30, oid("551d11"), der(0x04, der(0x30, ...LOOPBACK)));
  const tbs = der(
    0x30,
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    distinguishedName(authority?.name ?? name),
    der(0x30, utcTime(Date.now() - DAY_MS), utcTime(Date.now() + 2 * DAY_MS)),
    distinguishedName(name),
    publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, der(0x30, purpose)),
  );
  const signature = sign("sha256", tbs, authority?.key ?? key);
  const certificate = der(0x30, tbs, ECDSA_WITH_SHA256, der(0x03, Buffer.from([0]), signature));
  return { name, key, pem: new X509Certificate(certificate).toString() };
}

const LOOPBACK: readonly Buffer[] = [
  der(0x87, Buffer.from([127, 0, 0, 1])),
  der(0x87, Buffer.from([...Array<number>(15).fill(0), 1])),
  der(0x82, Buffer.from("localhost")),
];

function distinguishedName(commonName: string): Buffer {
  return der(0x30, der(0x31, der(0x30, oid("550403"), der(0x0c, Buffer.from(commonName)))));
}

function utcTime(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replaceAll(/\D/g, "");
  return der(0x17, Buffer.from(`${digits.slice(2, 14)}Z`));
}

function oid(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, "hex"));
}

function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(content);
  const length = bytes.byteLength;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >>> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), bytes]);
}
