//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// stopListening has a listener take no more connections, and gives those that
// were made already and that nobody has accepted yet. Closing the listener would
// cut them, and the requests that are on them.
func stopListening(listener net.Listener) (waiting []net.Conn, err error) {
	socket, ok := listener.(syscall.Conn)
	if !ok {
		return nil, listener.Close()
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var files []*os.File
	err = raw.Control(func(listening uintptr) {
		for {
			fd, _, err := syscall.Accept(int(listening))
			if err != nil { // none is left
				break
			}
			files = append(files, os.NewFile(uintptr(fd), "connection"))
		}
		// Takes effect at once; Close waits for the goroutine that accepts.
		_ = syscall.Shutdown(int(listening), syscall.SHUT_RD) // Close follows in any case
	})
	errs := []error{err}
	if err := listener.Close(); !errors.Is(err, net.ErrClosed) { // whoever accepted may have noticed, and closed it
		errs = append(errs, err)
	}
	for _, file := range files {
		connection, err := net.FileConn(file)
		errs = append(errs, err, file.Close())
		if err == nil {
			waiting = append(waiting, connection)
		}
	}
	return waiting, errors.Join(errs...)
}
