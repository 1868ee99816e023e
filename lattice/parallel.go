package main

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls work(0) … work(count−1) spread over the cores and returns the error of the lowest failing index.
// Every index is worked on, so which error is reported does not depend on scheduling.
func parallel(count int, work func(index int) error) error {
	workers := min(count, runtime.GOMAXPROCS(0))
	failures := make([]error, count)
	var next atomic.Int64
	loop := func() {
		for index := int(next.Add(1)) - 1; index < count; index = int(next.Add(1)) - 1 {
			failures[index] = guarded(func() error { return work(index) })
		}
	}
	var group sync.WaitGroup
	for range workers - 1 {
		group.Add(1)
		go func() {
			defer group.Done()
			loop()
		}()
	}
	loop()
	group.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}
