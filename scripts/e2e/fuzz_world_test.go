package e2e_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// remembered is how many things of each kind are known at a time.
const remembered = 60

// world is what is known to exist, found in answers.
type world struct {
	places []string // templates that end in a parameter

	mu     sync.Mutex
	things map[string][]string // paths, by their template
	tags   []string
	marks  []string // cursors
}

func newWorld(operations []operation) *world {
	w := &world{things: map[string][]string{}}
	for _, o := range operations {
		w.places = append(w.places, placesOf(o.path)...)
	}
	slices.Sort(w.places)
	w.places = slices.Compact(w.places)
	return w
}

// learn keeps what an answer shows to exist.
func (w *world) learn(r *rand.Rand, path string, h http.Header, body []byte) {
	var seen struct {
		ID         string
		NextCursor *string `json:"next_cursor"`
		Data       []struct{ ID string }
	}
	_ = json.Unmarshal(body, &seen) // what is something else shows nothing
	collection := strings.TrimSuffix(path, "/")
	found := []string{h.Get("Location")}
	if seen.ID != "" {
		found = append(found, collection+"/"+seen.ID)
	}
	for _, d := range seen.Data[:min(5, len(seen.Data))] {
		found = append(found, collection+"/"+d.ID)
	}
	found = append(found, w.named(body)...)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range found {
		for _, place := range w.places {
			if one != "" && matches(place, one) {
				w.things[place] = keep(r, w.things[place], one)
			}
		}
	}
	if tag := h.Get("ETag"); tag != "" {
		w.tags = keep(r, w.tags, tag)
	}
	if seen.NextCursor != nil {
		w.marks = keep(r, w.marks, *seen.NextCursor)
	}
}

var reference = regexp.MustCompile(`"([a-z]+)_id":"([0-9a-f-]{36})"`)

// named are the things that the fields of an answer refer to, such as that of event_id.
func (w *world) named(body []byte) (found []string) {
	for _, field := range reference.FindAllSubmatch(body[:min(len(body), 4000)], 3) {
		for _, place := range w.places {
			parts := segments(place)
			if collection := parts[:len(parts)-1]; !slices.ContainsFunc(collection, isParameter) && strings.HasPrefix(collection[len(collection)-1], string(field[1])) {
				found = append(found, strings.Join(collection, "/")+"/"+string(field[2]))
			}
		}
	}
	return found
}

// keep adds a text, in the place of any when there are enough.
func keep(r *rand.Rand, all []string, one string) []string {
	if slices.Contains(all, one) {
		return all
	}
	if len(all) < remembered {
		return append(all, one)
	}
	all[r.IntN(len(all))] = one
	return all
}

func (w *world) forget(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for place, all := range w.things {
		w.things[place] = slices.DeleteFunc(all, func(one string) bool { return one == path })
	}
}

// lose forgets what a path that was not found is about.
func (w *world) lose(template, path string) {
	path, _, _ = strings.Cut(path, "?")
	if places := placesOf(template); len(places) > 0 {
		parts := strings.Split(path, "/")
		w.forget(strings.Join(parts[:min(len(parts), len(segments(places[0])))], "/"))
	}
}

// existing makes a path of a template, about something that exists if anything does.
func (w *world) existing(r *rand.Rand, template string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	path := template
	for _, place := range placesOf(template) {
		if known := w.things[place]; len(known) > 0 {
			path = known[r.IntN(len(known))] + strings.TrimPrefix(template, place)
			break
		}
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if isParameter(part) {
			parts[i] = uuid.NewString()
		}
	}
	return strings.Join(parts, "/")
}

// id is that of something which a field of this name may mean, such as an
// organization for organization_id.
func (w *world) id(r *rand.Rand, field string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := strings.TrimSuffix(field, "_id")
	var fitting, all []string
	for _, place := range w.places {
		parts := segments(place)
		if len(parts) > 1 && kind != "" && strings.HasPrefix(parts[len(parts)-2], kind) {
			fitting = append(fitting, w.things[place]...)
		}
		all = append(all, w.things[place]...)
	}
	for _, some := range [][]string{fitting, all} {
		if len(some) > 0 {
			path := some[r.IntN(len(some))]
			return path[strings.LastIndexByte(path, '/')+1:]
		}
	}
	return uuid.NewString()
}

func (w *world) tag(r *rand.Rand) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return pick(r, append([]string{"*", `"0"`}, w.tags...))
}

func (w *world) cursor(r *rand.Rand) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return pick(r, append([]string{"b3JnYW5pemF0aW9uczoBmIUcD1d8U50_OlwfbwwR"}, w.marks...))
}

// crowded is something of a collection that has more than enough, to be deleted.
func (w *world) crowded(place string, most int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if known := w.things[place]; len(known) > most {
		return known[0]
	}
	return ""
}

func pick[T any](r *rand.Rand, all []T) T { return all[r.IntN(len(all))] }
