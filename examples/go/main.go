// Hand in one document and print its record, with the stock NATS client: go run . lunch.jpg
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

const stream = "DOCUMENTS"

type image struct {
	Key    string `json:"key"`
	SHA256 string `json:"sha256"`
	Size   int    `json:"size"`
}

type submitted struct {
	Type       string `json:"type"`
	Tenant     string `json:"tenant"`
	DocumentID string `json:"document_id"`
	EventID    string `json:"event_id"`
	OccurredAt string `json:"occurred_at"`
	Image      image  `json:"image"`
	Source     string `json:"source"`
}

// Of `completed` and `failed`; schemas/json has all of it.
type outcome struct {
	Record json.RawMessage `json:"record"`
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go run . FILE")
	}
	if err := extract(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func extract(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	connection, err := nats.Connect(setting("BILLOW_NATS_URL", nats.DefaultURL), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer connection.Close()
	js, err := connection.JetStream()
	if err != nil {
		return err
	}
	tenant := setting("BILLOW_TENANT", "default")
	documentID, err := newID()
	if err != nil {
		return err
	}
	if err := submit(js, tenant, documentID, data, path); err != nil {
		return err
	}
	record, err := recordOf(js, tenant, documentID)
	if err != nil {
		return err
	}
	fmt.Println(string(record))
	return nil
}

// The original goes into the tenant's bucket, then the event says that it is there. Doing it again with the same id is
// safe: the server drops what is said twice.
func submit(js nats.JetStreamContext, tenant, documentID string, data []byte, source string) error {
	key := documentID + "/original"
	bucket, err := originals(js, tenant)
	if err != nil {
		return err
	}
	if _, err := bucket.PutBytes(key, data); err != nil {
		return err
	}
	digest := sha256.Sum256(data)
	event := submitted{
		Type:       "document.submitted.v1",
		Tenant:     tenant,
		DocumentID: documentID,
		EventID:    documentID + ".1.submitted",
		OccurredAt: time.Now().UTC().Format(time.RFC3339Nano),
		Image:      image{Key: key, SHA256: hex.EncodeToString(digest[:]), Size: len(data)},
		Source:     source,
	}
	body, err := json.Marshal(event)
	if err != nil {
		return err
	}
	subject := fmt.Sprintf("documents.%s.submitted.%s", tenant, documentID)
	_, err = js.Publish(subject, body, nats.MsgId(tenant+"."+event.EventID), nats.ExpectStream(stream))
	return err
}

func originals(js nats.JetStreamContext, tenant string) (nats.ObjectStore, error) {
	name := "IMAGES_" + tenant
	bucket, err := js.ObjectStore(name)
	if errors.Is(err, nats.ErrStreamNotFound) || errors.Is(err, nats.ErrBucketNotFound) {
		return js.CreateObjectStore(&nats.ObjectStoreConfig{Bucket: name, TTL: 91 * 24 * time.Hour})
	}
	return bucket, err
}

// Reads the document's history and then what comes, also over lost connections.
func recordOf(js nats.JetStreamContext, tenant, documentID string) (json.RawMessage, error) {
	subject := fmt.Sprintf("documents.%s.*.%s", tenant, documentID)
	subscription, err := js.SubscribeSync(subject, nats.BindStream(stream), nats.OrderedConsumer())
	if err != nil {
		return nil, err
	}
	defer func() { _ = subscription.Unsubscribe() }()
	completed := fmt.Sprintf("documents.%s.completed.%s", tenant, documentID)
	failed := fmt.Sprintf("documents.%s.failed.%s", tenant, documentID)
	for {
		message, err := subscription.NextMsg(10 * time.Minute)
		if err != nil {
			return nil, err
		}
		if message.Subject != completed && message.Subject != failed {
			continue
		}
		var event outcome
		err = json.Unmarshal(message.Data, &event)
		return event.Record, err
	}
}

func newID() (string, error) {
	bytes := make([]byte, 12)
	_, err := rand.Read(bytes)
	return hex.EncodeToString(bytes), err
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
