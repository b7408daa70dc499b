// Verifies what the server publishes with an implementation of its own lineage: Go's sumdb/note and sumdb/tlog, as Debian packages
// them. It shares no code with the server or the auditor; leaves are made from columns by the written-down form alone.
//
// On standard input one JSON object; on standard output "ok", or the first thing that does not hold. Tiles it fetches itself, from the
// server, as any mirror or monitor would.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type event struct {
	AggregateType string `json:"aggregate_type"`
	AggregateID   string `json:"aggregate_id"`
	Sequence      int64  `json:"sequence"`
	EventType     string `json:"event_type"`
	EventVersion  string `json:"event_version"`
	Payload       string `json:"payload"`
	Metadata      string `json:"metadata"`
	EventID       []byte `json:"event_id"`
	SubjectID     []byte `json:"subject_id"`
	Kind          string `json:"kind"`
	RecordedAtUs  int64  `json:"recorded_at_us"`
}

type input struct {
	Log        string   `json:"log"`
	Vkey       string   `json:"vkey"`
	Older      string   `json:"older"`
	Newer      string   `json:"newer"`
	Proofs     []string `json:"proofs"`
	Consistent []string `json:"consistency"`
	Events     []event  `json:"events"`
}

func fail(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}

// leaf is the canonical form: twelve fields, each behind its length in 32 bits, big-endian.
func leaf(e event) []byte {
	number := func(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }
	fields := [][]byte{[]byte("lethe-event/1"), []byte(e.AggregateType), []byte(e.AggregateID), number(e.Sequence),
		[]byte(e.EventType), []byte(e.EventVersion), []byte(e.Payload), []byte(e.Metadata), e.EventID, e.SubjectID,
		[]byte(e.Kind), number(e.RecordedAtUs)}
	var bytes []byte
	for _, field := range fields {
		bytes = binary.BigEndian.AppendUint32(bytes, uint32(len(field)))
		bytes = append(bytes, field...)
	}
	return bytes
}

// open verifies a checkpoint; gives size and root.
func open(text string, known note.Verifiers) (int64, tlog.Hash) {
	opened, err := note.Open([]byte(text), known)
	if err != nil {
		fail("note: %v", err)
	}
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		fail("size: %v", err)
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		fail("root: %v", err)
	}
	return size, root
}

func hashes(lines []string) []tlog.Hash {
	var found []tlog.Hash
	for _, line := range lines {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			fail("hash: %v", err)
		}
		found = append(found, hash)
	}
	return found
}

// served reads the tiles of a log from its server. Their width is 256, so that the path of a tile is that of C2SP's tlog-tiles.
type served struct {
	prefix string
	read   int
}

func (s *served) Height() int { return 8 }

func (s *served) SaveTiles([]tlog.Tile, [][]byte) {}

func (s *served) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		answer, err := http.Get(s.prefix + "/" + path)
		if err != nil {
			return nil, err
		}
		bytes, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s %v", path, answer.Status, err)
		}
		found = append(found, bytes)
		s.read++
	}
	return found, nil
}

// tiles proves from what the server's tiles say, which count for nothing unless they fit the signed root: that each event is in the
// tree, and that the tree goes on from the older one.
func tiles(in input, newer int64, root tlog.Hash, older int64, olderRoot tlog.Hash) {
	files := &served{prefix: in.Log}
	reader := tlog.TileHashReader(tlog.Tree{N: newer, Hash: root}, files)
	for index := int64(0); index < newer; index++ {
		proof, err := tlog.ProveRecord(newer, index, reader)
		if err != nil {
			fail("tiles: inclusion of %d: %v", index, err)
		}
		if err := tlog.CheckRecord(proof, newer, root, index, tlog.RecordHash(leaf(in.Events[index]))); err != nil {
			fail("tiles: the event at %d: %v", index, err)
		}
	}
	proof, err := tlog.ProveTree(newer, older, reader)
	if err != nil {
		fail("tiles: consistency: %v", err)
	}
	if err := tlog.CheckTree(proof, newer, root, older, olderRoot); err != nil {
		fail("tiles: consistency: %v", err)
	}
	if files.read == 0 {
		fail("tiles: none was read")
	}
}

func main() {
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		fail("input: %v", err)
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(in.Vkey))
	if err != nil {
		fail("vkey: %v", err)
	}
	known := note.VerifierList(verifier)
	older, olderRoot := open(in.Older, known)
	newer, newerRoot := open(in.Newer, known)
	if err := tlog.CheckTree(hashes(in.Consistent), newer, newerRoot, older, olderRoot); err != nil {
		fail("consistency: %v", err)
	}
	for _, text := range in.Proofs {
		head, checkpoint, _ := strings.Cut(text, "\n\n")
		lines := strings.Split(head, "\n")
		size, root := open(checkpoint, known)
		lines = lines[1:]
		if strings.HasPrefix(lines[0], "extra ") {
			lines = lines[1:]
		}
		index, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "index "), 10, 64)
		if err != nil {
			fail("index: %v", err)
		}
		if err := tlog.CheckRecord(hashes(lines[1:]), size, root, index, tlog.RecordHash(leaf(in.Events[index]))); err != nil {
			fail("inclusion of %d: %v", index, err)
		}
	}
	// The whole tree, from the events alone.
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var found []tlog.Hash
		for _, index := range indexes {
			found = append(found, stored[index])
		}
		return found, nil
	})
	for at, e := range in.Events[:newer] {
		more, err := tlog.StoredHashes(int64(at), leaf(e), reader)
		if err != nil {
			fail("hashes: %v", err)
		}
		stored = append(stored, more...)
	}
	root, err := tlog.TreeHash(newer, reader)
	if err != nil || root != newerRoot {
		fail("root of %d events: %s, signed %s (%v)", newer, base64.StdEncoding.EncodeToString(root[:]), newerRoot, err)
	}
	tiles(in, newer, newerRoot, older, olderRoot)
	fmt.Println("ok")
}
