package httpapi

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// The page is tried as a person would: authorize, open an operation, execute it,
// read the answer.
func TestPageShowsAndCallsTheAPIInABrowser(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.post(t, endpointsPath, `{"url":"`+hook+`","events":["*"],"name":"Seen in the page"}`).json(t, 201)
	tab := openBrowser(t)

	const operation = "#operations-webhooks-listEndpoints"
	tab.do(t,
		chromedp.Navigate(a.url+"/docs"),
		chromedp.WaitVisible(chromedp.CSS(operation)),
		chromedp.Click(chromedp.CSS(".btn.authorize")),
		chromedp.SendKeys(chromedp.CSS(".modal-ux input"), bootstrapKey),
		chromedp.Click(chromedp.CSS(".modal-ux .btn.authorize")),
		chromedp.Click(chromedp.CSS(".modal-ux .btn-done")),
		chromedp.Click(chromedp.CSS(operation+" .opblock-summary-control")),
		chromedp.Click(chromedp.CSS(operation+" .try-out__btn")),
		chromedp.Click(chromedp.CSS(operation+" .execute")),
		chromedp.WaitVisible(chromedp.CSS(operation+" .live-responses-table .response-col_status")),
	)
	if got := tab.evaluate(t, `document.title`); got != "Sonicus webhooks" {
		t.Errorf("title %q", got)
	}
	if got := tab.evaluate(t, `document.querySelector("`+operation+` .live-responses-table .response .response-col_status").innerText`); !strings.HasPrefix(got, "200") {
		t.Errorf("the operation answered %q", got)
	}
	if got := tab.evaluate(t, `document.querySelector("`+operation+` .live-responses-table").innerText`); !strings.Contains(got, "Seen in the page") {
		t.Errorf("the answer is not shown: %s", got)
	}
	shown := tab.evaluate(t, `[...document.querySelectorAll(".opblock")].map(o => o.id).join(" ")`)
	for _, o := range operations(t) {
		if id := "operations-" + o.Tags[0] + "-" + o.OperationID; !slices.Contains(strings.Fields(shown), id) {
			t.Errorf("%s is not shown; there are %s", id, shown)
		}
	}
	tab.wasQuiet(t, a.url)
}

// tab is a page in a real browser, and what it has done.
type tab struct {
	ctx context.Context

	mu         sync.Mutex
	complaints []string
	requested  []string
}

func openBrowser(t *testing.T) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(browser(t)), chromedp.WSURLReadTimeout(time.Minute),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses to be root inside of it
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	tab := new(tab)
	ctx, closeTab := chromedp.NewContext(allocator, chromedp.WithListener(tab.note))
	t.Cleanup(closeTab)
	tab.ctx = ctx
	if err := chromedp.Do(ctx, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error { // without a deadline: it would be the browser's
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		return err
	})); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return tab
}

// browser finds Chromium. Continuous integration installs it; elsewhere the test
// is for those who have one.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium-headless-shell", "headless_shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no Chromium: .ci/run installs it")
	}
	t.Skip("no Chromium on this machine; on Debian: apt-get install chromium-headless-shell")
	return ""
}

func (b *tab) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 90*time.Second)
	defer cancel()
	for i, step := range steps {
		if err := chromedp.Do(ctx, step); err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			t.Fatalf("step %d: %v; the browser says %q", i, err, b.complaints)
		}
	}
}

func (b *tab) evaluate(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 90*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](script))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return text
}

// note is told every event of the page, in order.
func (b *tab) note(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		b.requested = append(b.requested, ev.Request.URL)
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, ev.ExceptionDetails.Text)
	case *log.EventEntryAdded: // also what the policy refused
		b.complaints = append(b.complaints, ev.Entry.Text+" "+ev.Entry.URL)
	case *runtime.EventConsoleAPICalled:
		for _, arg := range ev.Args {
			b.complaints = append(b.complaints, string(ev.Type)+": "+string(arg.Value)+arg.Description)
		}
	}
}

// wasQuiet checks that nothing went wrong behind the scenes and that nothing was
// asked of anyone but the server.
func (b *tab) wasQuiet(t *testing.T, origin string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, complaint := range b.complaints {
		t.Errorf("the console says %s", complaint)
	}
	if len(b.requested) < 5 {
		t.Errorf("only %d requests were seen: %q", len(b.requested), b.requested)
	}
	for _, url := range b.requested {
		if !strings.HasPrefix(url, origin+"/") && !strings.HasPrefix(url, "data:") {
			t.Errorf("the page asked for %s", url)
		}
	}
}
