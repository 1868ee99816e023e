package main

import (
	"math/big"

	"github.com/tuneinsight/lattigo/v6/ring"
)

// The lattice part of the redundancy attack: small, exact, and only for tests.

// lagrange is λ of the point among the active ones, modulo Q.
func lagrange(p *parameters, point int, active []int) uint64 {
	q := new(big.Int).SetUint64(p.modulus)
	value := big.NewInt(1)
	for _, other := range active {
		if other != point {
			inverse := new(big.Int).ModInverse(new(big.Int).Mod(big.NewInt(int64(other-point)), q), q)
			value.Mul(value, big.NewInt(int64(other))).Mul(value, inverse).Mod(value, q)
		}
	}
	return value.Uint64()
}

// removeNoise finds, coefficient by coefficient, the point of the code λ_j·f(j) (degree of f below the threshold) that
// is closest to the answers, and returns f(0).
func removeNoise(p *parameters, answers [][]uint64, lambda []uint64, threshold int) []uint64 {
	q := new(big.Int).SetUint64(p.modulus)
	basis := codeBasis(p, lambda, threshold)
	reduce(basis)
	inverse := inverted(basis)
	atZero := make([]*big.Int, threshold) // from the first t points back to f(0)
	for index := range atZero {
		weight := new(big.Int).SetUint64(lagrange(p, index+1, points(threshold)))
		scale := new(big.Int).ModInverse(new(big.Int).SetUint64(lambda[index]), q)
		atZero[index] = weight.Mul(weight, scale).Mod(weight, q)
	}
	result := make([]uint64, p.degree)
	for place := range result {
		target := make([]*big.Int, len(answers))
		for index := range answers {
			target[index] = new(big.Int).SetUint64(answers[index][place])
		}
		close := closest(basis, inverse, target)
		sum := new(big.Int)
		for index, weight := range atZero {
			sum.Add(sum, new(big.Int).Mul(weight, close[index]))
		}
		result[place] = sum.Mod(sum, q).Uint64()
	}
	return result
}

// codeBasis spans all vectors (λ_j·f(j)) + Q·Zᵏ: the first t places are free, the others follow from them.
func codeBasis(p *parameters, lambda []uint64, threshold int) [][]*big.Int {
	size, q := len(lambda), new(big.Int).SetUint64(p.modulus)
	basis := make([][]*big.Int, size)
	for row := range basis {
		basis[row] = make([]*big.Int, size)
		for column := range basis[row] {
			basis[row][column] = new(big.Int)
		}
		if row >= threshold {
			basis[row][row].Set(q)
			continue
		}
		basis[row][row].SetInt64(1)
		scale := new(big.Int).ModInverse(new(big.Int).SetUint64(lambda[row]), q)
		for column := threshold; column < size; column++ {
			value := interpolation(q, row+1, threshold, column+1)
			value.Mul(value, scale).Mul(value, new(big.Int).SetUint64(lambda[column]))
			basis[row][column].Mod(value, q)
		}
	}
	return basis
}

// interpolation is the Lagrange basis polynomial of the point among 1 … t, at x.
func interpolation(q *big.Int, point, threshold, x int) *big.Int {
	value := big.NewInt(1)
	for other := 1; other <= threshold; other++ {
		if other != point {
			inverse := new(big.Int).ModInverse(new(big.Int).Mod(big.NewInt(int64(point-other)), q), q)
			value.Mul(value, big.NewInt(int64(x-other))).Mul(value, inverse).Mod(value, q)
		}
	}
	return value
}

// reduce is LLL with δ = 3/4 in exact fractions.
func reduce(basis [][]*big.Int) {
	for k := 1; k < len(basis); {
		for j := k - 1; j >= 0; j-- {
			mu, _ := orthogonal(basis, k)
			factor := nearest(mu[j])
			for column := range basis[k] {
				basis[k][column].Sub(basis[k][column], new(big.Int).Mul(factor, basis[j][column]))
			}
		}
		mu, norms := orthogonal(basis, k)
		limit := new(big.Rat).Sub(big.NewRat(3, 4), new(big.Rat).Mul(mu[k-1], mu[k-1]))
		if norms[k].Cmp(limit.Mul(limit, norms[k-1])) >= 0 {
			k++
			continue
		}
		basis[k], basis[k-1] = basis[k-1], basis[k]
		k = max(k-1, 1)
	}
}

// orthogonal is Gram–Schmidt up to row k: the coefficients of row k and all squared norms.
func orthogonal(basis [][]*big.Int, k int) (mu []*big.Rat, norms []*big.Rat) {
	var rows [][]*big.Rat
	for index := 0; index <= k; index++ {
		row := rational(basis[index])
		mu = make([]*big.Rat, index)
		for j := range index {
			mu[j] = new(big.Rat).Quo(inner(rational(basis[index]), rows[j]), norms[j])
			for column := range row {
				row[column].Sub(row[column], new(big.Rat).Mul(mu[j], rows[j][column]))
			}
		}
		rows, norms = append(rows, row), append(norms, inner(row, row))
	}
	return mu, norms
}

// closest is Babai's rounding: a lattice vector near the target.
func closest(basis [][]*big.Int, inverse [][]*big.Float, target []*big.Int) []*big.Int {
	result := make([]*big.Int, len(target))
	for column := range result {
		result[column] = new(big.Int)
	}
	for row := range basis {
		sum := new(big.Float).SetPrec(256)
		for index, value := range target {
			product := new(big.Float).SetPrec(256).SetInt(value)
			sum.Add(sum, product.Mul(product, inverse[index][row]))
		}
		half := big.NewFloat(0.5)
		if sum.Sign() < 0 {
			half.Neg(half)
		}
		factor, _ := sum.Add(sum, half).Int(nil)
		for column := range result {
			result[column].Add(result[column], new(big.Int).Mul(factor, basis[row][column]))
		}
	}
	return result
}

// inverted is the inverse matrix, by Gauss–Jordan in exact fractions.
func inverted(basis [][]*big.Int) [][]*big.Float {
	size := len(basis)
	rows := make([][]*big.Rat, size)
	for index := range rows {
		unit := make([]*big.Int, size)
		for column := range unit {
			unit[column] = new(big.Int)
		}
		unit[index].SetInt64(1)
		rows[index] = append(rational(basis[index]), rational(unit)...)
	}
	for pivot := range rows {
		swap := pivot
		for rows[swap][pivot].Sign() == 0 {
			swap++
		}
		rows[pivot], rows[swap] = rows[swap], rows[pivot]
		scale := new(big.Rat).Inv(rows[pivot][pivot])
		for column := range rows[pivot] {
			rows[pivot][column].Mul(rows[pivot][column], scale)
		}
		for other := range rows {
			if factor := new(big.Rat).Set(rows[other][pivot]); other != pivot && factor.Sign() != 0 {
				for column := range rows[other] {
					rows[other][column].Sub(rows[other][column], new(big.Rat).Mul(factor, rows[pivot][column]))
				}
			}
		}
	}
	result := make([][]*big.Float, size)
	for row := range result {
		for _, value := range rows[row][size:] {
			result[row] = append(result[row], new(big.Float).SetPrec(256).SetRat(value))
		}
	}
	return result
}

func rational(row []*big.Int) []*big.Rat {
	result := make([]*big.Rat, len(row))
	for index, value := range row {
		result[index] = new(big.Rat).SetInt(value)
	}
	return result
}

func inner(left, right []*big.Rat) *big.Rat {
	sum := new(big.Rat)
	for index := range left {
		sum.Add(sum, new(big.Rat).Mul(left[index], right[index]))
	}
	return sum
}

func nearest(value *big.Rat) *big.Int {
	twice := new(big.Int).Lsh(value.Num(), 1)
	twice.Add(twice, value.Denom())
	return twice.Div(twice, new(big.Int).Lsh(value.Denom(), 1))
}

// bigs are the centred coefficients of an element with several moduli.
func bigs(ringQ *ring.Ring, poly ring.Poly) []*big.Int {
	result := make([]*big.Int, ringQ.N())
	for index := range result {
		result[index] = new(big.Int)
	}
	ringQ.PolyToBigintCentered(poly, 1, result)
	return result
}

// rounded is the value divided by 2^bits, to the nearest integer.
func rounded(value *big.Int, bits uint) *big.Int {
	half := new(big.Int).Lsh(big.NewInt(1), bits-1)
	return half.Add(half, value).Rsh(half, bits)
}
