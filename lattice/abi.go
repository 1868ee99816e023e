// Command lattice is the C library behind fedcrm.crypto: threshold additively homomorphic encryption with a common
// reference, over Lattigo, and an exact discrete Gaussian sampler.
//
// Every function is stateless, checks all lengths it is given, writes into buffers of the caller, and returns a status
// with a message for people. Nothing is kept of the caller's memory after a call.
package main

/*
#include <stdint.h>

typedef struct { uint8_t *data; uint64_t size; } lattice_bytes;
typedef struct { int64_t *data; uint64_t size; } lattice_integers;
*/
import "C"

import (
	"errors"
	"unsafe"
)

const abiVersion = 1

func main() {}

//export lattice_abi_version
func lattice_abi_version() C.int32_t { return abiVersion }

//export lattice_object_size
func lattice_object_size(numbers C.lattice_bytes, objectKind C.uint8_t, dimension C.uint64_t,
	size *C.uint64_t, message C.lattice_bytes) C.int32_t {
	return answer(message, numbers, func(p *parameters) error {
		found, err := p.objectSize(kind(objectKind), bounded(dimension))
		*size = C.uint64_t(found)
		return err
	})
}

//export lattice_check
func lattice_check(numbers, object C.lattice_bytes, objectKind C.uint8_t, dimension C.uint64_t,
	message C.lattice_bytes) C.int32_t {
	return answer(message, numbers, func(p *parameters) error {
		return p.check(view(object), kind(objectKind), bounded(dimension))
	})
}

//export lattice_deal
func lattice_deal(numbers, secret C.lattice_bytes, threshold, holders C.uint32_t,
	out, message C.lattice_bytes) C.int32_t {
	return answer(message, numbers, func(p *parameters) error {
		return p.deal(view(secret), int(threshold), int(holders), view(out))
	})
}

//export lattice_encrypt
func lattice_encrypt(numbers, secret, releaseID, descriptor C.lattice_bytes, plaintext C.lattice_integers,
	out, message C.lattice_bytes) C.int32_t {
	return answer(message, numbers, func(p *parameters) error {
		r, err := newRelease(view(releaseID), view(descriptor))
		if err != nil {
			return err
		}
		return p.encrypt(view(secret), r, integers(plaintext), view(out))
	})
}

//export lattice_add
func lattice_add(numbers C.lattice_bytes, objects *C.lattice_bytes, count C.uint64_t, from, to C.uint8_t,
	dimension C.uint64_t, out, message C.lattice_bytes) C.int32_t {
	return answer(message, numbers, func(p *parameters) error {
		return p.add(list(objects, count), kind(from), kind(to), bounded(dimension), view(out))
	})
}

// lattice_open takes the active points and, at the same places, mask keys; the own place holds an empty one.
//
//export lattice_open
func lattice_open(numbers, shareSum, releaseID, descriptor C.lattice_bytes, dimension C.uint64_t, point C.uint32_t,
	active C.lattice_integers, masks *C.lattice_bytes, noise, out, message C.lattice_bytes) C.int32_t {
	return answer(message, numbers, func(p *parameters) error {
		r, err := newRelease(view(releaseID), view(descriptor))
		if err != nil {
			return err
		}
		s := &statement{release: r, point: int(point), masks: map[int][]byte{}, noise: view(noise),
			dimension: bounded(dimension)}
		keys := list(masks, C.uint64_t(active.size))
		for index, other := range integers(active) {
			s.active = append(s.active, int(other))
			if len(keys[index]) > 0 {
				s.masks[int(other)] = keys[index]
			}
		}
		return p.open(view(shareSum), s, view(out))
	})
}

//export lattice_combine
func lattice_combine(numbers, ciphertext C.lattice_bytes, shares *C.lattice_bytes, count C.uint64_t,
	bound C.int64_t, out C.lattice_integers, message C.lattice_bytes) C.int32_t {
	return answer(message, numbers, func(p *parameters) error {
		values := integers(out)
		return p.combine(view(ciphertext), list(shares, count), len(values), int64(bound), values)
	})
}

//export lattice_noise
func lattice_noise(key C.lattice_bytes, variance C.uint64_t, out C.lattice_integers,
	message C.lattice_bytes) C.int32_t {
	return reply(message, func() error {
		return discreteGaussian(view(key), uint64(variance), integers(out))
	})
}

func answer(message, numbers C.lattice_bytes, work func(*parameters) error) C.int32_t {
	return reply(message, func() error {
		p, err := readParameters(view(numbers))
		if err != nil {
			return err
		}
		return work(p)
	})
}

// reply runs the work, puts an error's text (cut to fit, ended by a zero) into message and returns its status.
func reply(message C.lattice_bytes, work func() error) C.int32_t {
	err := guarded(work)
	text := view(message)
	if len(text) > 0 {
		text[0] = 0
	}
	if err == nil {
		return C.int32_t(statusDone)
	}
	if len(text) > 0 {
		text[copy(text[:len(text)-1], err.Error())] = 0
	}
	var known *failure
	if errors.As(err, &known) {
		return C.int32_t(known.status)
	}
	return C.int32_t(statusInternal)
}

// bounded maps a dimension that no object can have to 0, which every use of it refuses.
func bounded(dimension C.uint64_t) int {
	if dimension > maximumDimension {
		return 0
	}
	return int(dimension)
}

func view(buffer C.lattice_bytes) []byte {
	if buffer.data == nil {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(buffer.data)), buffer.size)
}

func integers(buffer C.lattice_integers) []int64 {
	if buffer.data == nil {
		return nil
	}
	return unsafe.Slice((*int64)(unsafe.Pointer(buffer.data)), buffer.size)
}

func list(first *C.lattice_bytes, count C.uint64_t) [][]byte {
	var result [][]byte
	if first != nil {
		for _, entry := range unsafe.Slice(first, count) {
			result = append(result, view(entry))
		}
	}
	return result
}
