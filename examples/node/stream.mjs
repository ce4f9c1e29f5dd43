// How Billow's events look to a stock NATS client: subjects, the bucket of originals, `submitted`.
import { createHash } from "node:crypto";
import { jetstream } from "@nats-io/jetstream";
import { Objm } from "@nats-io/obj";
import { connect } from "@nats-io/transport-node";

export const STREAM = "DOCUMENTS";
export const TENANT = process.env.BILLOW_TENANT ?? "default";

const DAY_MS = 24 * 60 * 60 * 1000;

/** A connection and its JetStream. */
export async function open() {
  const connection = await connect({
    servers: (process.env.BILLOW_NATS_URL ?? "nats://127.0.0.1:4222").split(","),
    user: process.env.BILLOW_NATS_USER,
    pass: process.env.BILLOW_NATS_PASSWORD,
    maxReconnectAttempts: -1,
  });
  return { connection, js: jetstream(connection) };
}

/** Subjects of a document's events; `*` as id takes all documents of the tenant. */
export function subjects(events, documentId = "*") {
  return events.map((event) => `documents.${TENANT}.${event}.${documentId}`);
}

/** Put the original into the tenant's bucket, then say that it is there. With the same id, doing it again is safe. */
export async function submit(js, documentId, bytes, source) {
  const key = `${documentId}/original`;
  const bucket = await originals(js);
  await bucket.putBlob({ name: key }, bytes);
  const eventId = `${documentId}.1.submitted`;
  const event = {
    type: "document.submitted.v1",
    tenant: TENANT,
    document_id: documentId,
    event_id: eventId,
    occurred_at: new Date().toISOString(),
    image: { key, sha256: createHash("sha256").update(bytes).digest("hex"), size: bytes.length },
    source,
  };
  // Tenant and event id as message id: the server drops what is said twice.
  const [subject] = subjects(["submitted"], documentId);
  await js.publish(subject, JSON.stringify(event), { msgID: `${TENANT}.${eventId}`, expect: { streamName: STREAM } });
}

async function originals(js) {
  const objects = new Objm(js);
  const name = `IMAGES_${TENANT}`;
  try {
    return await objects.open(name);
  } catch {
    return await objects.create(name, { ttl: 91 * DAY_MS * 1e6 });
  }
}
