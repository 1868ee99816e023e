package main

import "testing"

// One core, 10^6 values, 7 of 9: compare with the prototype's 0.030 s (encrypt), 0.044 s (share), 0.027 s (combine).
func BenchmarkMillion(b *testing.B) {
	const dimension = 1_000_000
	p := parametersWith(b, 20)
	secret, r := make([]byte, keySize), releaseNumber(1)
	size, _ := p.objectSize(kindCiphertext, dimension)
	ciphertext, share, values := make([]byte, size), make([]byte, size), make([]int64, dimension)
	keySizes, _ := p.objectSize(kindKeyShare, p.degree)
	keys, sum := make([]byte, 9*keySizes), make([]byte, keySizes)
	_ = p.deal(secret, 7, 9, keys)
	_ = p.add([][]byte{keys[:keySizes]}, kindKeyShare, kindShareSum, p.degree, sum)
	s := &statement{release: r, point: 1, active: points(7), masks: map[int][]byte{}, noise: secret, dimension: dimension}
	for _, other := range s.active[1:] {
		s.masks[other] = secret
	}
	b.Run("encrypt", func(b *testing.B) {
		for b.Loop() {
			_ = p.encrypt(secret, r, values, ciphertext)
		}
	})
	b.Run("share", func(b *testing.B) {
		for b.Loop() {
			_ = p.open(sum, s, share)
		}
	})
	b.Run("combine", func(b *testing.B) {
		for b.Loop() {
			_ = p.combine(ciphertext, [][]byte{share, share, share, share, share, share, share}, dimension, 1<<26, values)
		}
	})
}
