package main

import "fmt"

// status is what a call across the C boundary returns; the message beside it is for people.
type status int32

const (
	statusDone      status = 0
	statusArgument  status = 1 // the caller broke the interface
	statusMalformed status = 2 // bytes from outside are not what they should be
	statusNoise     status = 3 // an opened sum's decoding error is out of bounds
	statusInternal  status = 4 // a panic, caught
)

type failure struct {
	status  status
	message string
}

func (f *failure) Error() string { return f.message }

func argument(format string, values ...any) error {
	return &failure{statusArgument, fmt.Sprintf(format, values...)}
}

func malformed(format string, values ...any) error {
	return &failure{statusMalformed, fmt.Sprintf(format, values...)}
}

// guarded turns a panic of the called function into an error: nothing may unwind into C or kill the process.
func guarded(work func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			// The reason could quote a value; its type says enough to find the fault.
			err = &failure{statusInternal, fmt.Sprintf("internal fault (%T)", reason)}
		}
	}()
	return work()
}
