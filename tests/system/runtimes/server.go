// What a Go server does; built on the host with CGO_ENABLED=0 and deployed as one static file.
package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
)

type probe struct {
	name string
	run  func() error
}

func thread() error {
	var g sync.WaitGroup
	for i := 0; i < 50; i++ {
		g.Add(1)
		go func() { runtime.LockOSThread(); g.Done() }()
	}
	g.Wait()
	return nil
}

func child() error {
	out, err := exec.Command("/bin/sh", "-c", "echo child").Output()
	if err == nil && string(out) != "child\n" {
		err = fmt.Errorf("got %q", out)
	}
	return err
}

func name() error {
	a, err := net.LookupHost("localhost")
	if err == nil && len(a) == 0 {
		err = fmt.Errorf("no address")
	}
	return err
}

func file() error {
	f, err := os.CreateTemp("", "t")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// Two connections copied into each other: splice(2) where it is allowed.
func relay() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		in, _ := l.Accept()
		out, _ := net.Dial("tcp", l.Addr().String())
		io.Copy(out, in)
		out.Close()
	}()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	b, err := l.Accept()
	if err != nil {
		return err
	}
	a.Write(make([]byte, 100000))
	a.Close()
	n, err := io.Copy(io.Discard, b)
	if err == nil && n != 100000 {
		err = fmt.Errorf("%d bytes", n)
	}
	return err
}

func random() error {
	_, err := rand.Read(make([]byte, 16))
	return err
}

func interfaces() error {
	_, err := net.InterfaceByName("eth0")
	return err
}

func main() {
	probes := []probe{{"thread", thread}, {"child", child}, {"name", name}, {"file", file}, {"relay", relay}, {"random", random}, {"interfaces", interfaces}}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() { <-stop; fmt.Println("bye"); os.Exit(0) }()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/probe" {
			fmt.Fprintf(w, "hello from go %s\n", runtime.Version())
			return
		}
		for _, p := range probes {
			if err := p.run(); err != nil {
				fmt.Fprintf(w, "%s=%s\n", p.name, err)
			} else {
				fmt.Fprintf(w, "%s=ok\n", p.name)
			}
		}
	})
	fmt.Println(http.ListenAndServe("0.0.0.0:"+os.Getenv("PORT"), nil))
}
