package main

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// ignoreHandshakes has the kernel drop what asks a listener for a new connection
// (TCP segments with SYN, RFC 9293, section 3.1), so that none is made between the
// last that is accepted and the end of listening, when the kernel would reset it.
// Whoever asks does so again in a second, and is then refused.
func ignoreHandshakes(listener net.Listener) error {
	socket, ok := listener.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	const flags, syn = 13, 2 // where a TCP header has its flags, and the one that is meant
	program := [...]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: syn, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0}, // keeps no byte of it
		{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	var attaching error
	err = raw.Control(func(fd uintptr) {
		attaching = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter)
	})
	return errors.Join(err, attaching)
}
