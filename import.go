package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"roster/db"
)

// importCommand is "roster import".
type importCommand struct {
	databaseSettings `embed:""`
	File             string `arg:"" help:"The document to read, or - for standard input."`
	From             string `required:"" enum:"worth,testinium" placeholder:"SYSTEM" help:"The system whose documented answer the file holds: worth or testinium."`
	Customer         string `placeholder:"ID" help:"The customer of the users, by UUID or number; it is created when it is not there. Required for worth, whose documents do not name it."`
	CustomerName     string `placeholder:"NAME" help:"The name of a customer that is created and that the document does not name; without it, Customer and the number."`
	DryRun           bool   `help:"Check everything and write nothing."`
	Rejects          string `placeholder:"FILE" help:"Write the rejected rows to this file; without it they go to standard error."`
}

// Run imports the document and prints a summary. Rows that are rejected make it
// fail once everything else is in.
func (c *importCommand) Run(ctx context.Context, p *stdio) (err error) {
	document, size, err := c.open(p.stdin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, document.Close()) }()
	database, err := db.Open(ctx, c.URL, db.Options{ReadOnly: c.DryRun})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Close()) }()
	if err := requireSchema(ctx, database); err != nil {
		return err
	}
	// Rows that are hidden would be taken for rows that are not there.
	err = database.CheckRole(ctx, false, false)
	if errors.Is(err, db.ErrRowsHidden) {
		return fmt.Errorf("%w: import with the role that owns the tables", err)
	}
	if err != nil {
		return err
	}
	var rejectsErr error // why rejected rows could not be written; the first reason
	noteRejectsErr := func(reason error) {
		if rejectsErr == nil && reason != nil {
			rejectsErr = fmt.Errorf("--rejects: %w", reason)
		}
	}
	defer func() { err = errors.Join(err, rejectsErr) }()
	rejects := p.stderr
	if c.Rejects != "" {
		if err := c.checkNotDatabase(); err != nil {
			return err
		}
		file, err := os.Create(c.Rejects)
		if err != nil {
			return fmt.Errorf("--rejects: %w", err)
		}
		defer func() { noteRejectsErr(file.Close()) }()
		rejects = file
	}
	reader, stop := readUntil(ctx, document)
	defer stop()
	bar := progress(p.stderr, size)
	summary, err := database.Import(ctx, db.Source(c.From), reader, db.ImportOptions{
		Customer:     c.Customer,
		CustomerName: c.CustomerName,
		DryRun:       c.DryRun,
		Progress:     func(_, bytes int64) { _ = bar.Set64(bytes) }, // a bar that cannot be drawn is no reason to stop
		Reject: func(rejection db.Rejection) {
			if c.Rejects == "" {
				_ = bar.Clear() // which is drawn anew after the batch
			}
			_, err := fmt.Fprintln(rejects, rejection)
			noteRejectsErr(err)
		},
	})
	_ = bar.Clear()      // as above
	var summaryErr error // why the summary could not be written
	if err == nil || summary.Rows > 0 {
		summaryErr = c.summarize(p.stdout, summary)
	}
	if err != nil {
		return errors.Join(err, summaryErr)
	}
	if summary.Rejected > 0 {
		return errors.Join(fmt.Errorf("%d of %d rows were rejected", summary.Rejected, summary.Rows), summaryErr)
	}
	return summaryErr
}

// open gives the document and its size, -1 when that cannot be told.
func (c *importCommand) open(stdin io.Reader) (io.ReadCloser, int64, error) {
	if c.File == "-" {
		return io.NopCloser(stdin), -1, c.checkNotDocument(stdin)
	}
	file, err := os.Open(c.File)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil {
		err = c.checkNotDocument(file)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	if !info.Mode().IsRegular() {
		return file, -1, nil
	}
	return file, info.Size(), nil
}

// readUntil reads ahead from r until ctx is done or stop is called. What r waits for, such
// as input of a terminal, may never come.
func readUntil(ctx context.Context, r io.Reader) (reader io.Reader, stop func()) {
	ahead, writer := io.Pipe()
	go func() {
		_, err := io.Copy(writer, r)
		_ = writer.CloseWithError(err)
	}()
	forget := context.AfterFunc(ctx, func() { _ = writer.CloseWithError(context.Cause(ctx)) })
	return bufio.NewReader(ahead), func() {
		forget()
		_ = ahead.Close()
	}
}

// checkNotDocument refuses to write the rejected rows over the document before it is read.
func (c *importCommand) checkNotDocument(document io.Reader) error {
	file, ok := document.(*os.File)
	if !ok || c.Rejects == "" {
		return nil
	}
	read, err := file.Stat()
	if err != nil {
		return err
	}
	// What is not there yet cannot be the document. A device loses nothing.
	if written, err := os.Stat(c.Rejects); err == nil && written.Mode().IsRegular() && os.SameFile(read, written) {
		return fmt.Errorf("--rejects: %s is the document itself", c.Rejects)
	}
	return nil
}

// checkNotDatabase refuses to write the rejected rows over a database.
func (c *importCommand) checkNotDatabase() error {
	if isDatabase(c.Rejects) {
		return fmt.Errorf("--rejects: %s is a database", c.Rejects)
	}
	// What was written last is in one of these (https://sqlite.org/tempfiles.html).
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if database, ok := strings.CutSuffix(c.Rejects, suffix); ok && isDatabase(database) {
			return fmt.Errorf("--rejects: %s is a part of a database", c.Rejects)
		}
	}
	return nil
}

// isDatabase reports whether there is a file of SQLite.
func isDatabase(path string) bool {
	const magic = "SQLite format 3\x00"
	if file, err := os.Stat(path); err != nil || !file.Mode().IsRegular() {
		return false // a pipe would have us wait
	}
	found, err := os.Open(path)
	if err != nil {
		return false // what cannot be read is no database of ours
	}
	defer func() { _ = found.Close() }()
	header := make([]byte, len(magic))
	n, _ := io.ReadFull(found, header)
	return string(header[:n]) == magic
}

// progress draws a bar on a terminal, and nothing elsewhere.
func progress(w io.Writer, size int64) *progressbar.ProgressBar {
	file, ok := w.(*os.File)
	return progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetVisibility(ok && term.IsTerminal(int(file.Fd()))),
		progressbar.OptionSetDescription("importing"),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionFullWidth(),
		progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionThrottle(65*time.Millisecond),
		progressbar.OptionSetSpinnerChangeInterval(0), // which would start a goroutine that nothing ends
	)
}

func (c *importCommand) summarize(w io.Writer, s db.ImportSummary) error {
	dry := ""
	if c.DryRun {
		dry = " (dry run)"
	}
	_, err := fmt.Fprintf(w, "read %d rows%s: %d users created, %d updated, %d unchanged; %d rows rejected\n"+
		"customers: %d created, %d updated; subroles: %d created, %d updated; authorities: %d created, %d updated\n",
		s.Rows, dry, s.UsersCreated, s.UsersUpdated, s.UsersUnchanged, s.Rejected,
		s.CustomersCreated, s.CustomersUpdated, s.SubrolesCreated, s.SubrolesUpdated, s.AuthoritiesCreated, s.AuthoritiesUpdated)
	return err
}
